"""Certificates for tests: an authority, those that it signs, and what may be wrong with one."""

import datetime as dt
import functools
from pathlib import Path

import trustme
from attrs import frozen


@frozen
class Files:
    """A certificate chain and its key as files."""

    cert: str
    key: str


@functools.cache
def authority(name="ours"):
    """An authority; keys take their time, so the tests of a process share it."""
    return trustme.CA(organization_name=name)


class Authority:
    """An authority whose files lie in a folder.

    Attributes:
        ca: Its own certificate.
    """

    def __init__(self, folder, name="ours"):
        self._folder = folder
        self._authority = authority(name)
        self.ca = str(folder / f"{name}.ca")
        self._authority.cert_pem.write_to_path(self.ca)

    def issue(self, *names, file="bridge", common_name=None, **when):
        """A certificate of these names, in files of that name; `not_before` and `not_after` as trustme takes them."""
        made = self._authority.issue_cert(*names, common_name=common_name, **when)
        files = Files(str(self._folder / f"{file}.pem"), str(self._folder / f"{file}.key"))
        with Path(files.cert).open("wb") as cert:
            cert.writelines(pem.bytes() for pem in made.cert_chain_pems)
        made.private_key_pem.write_to_path(files.key)
        (self._folder / f"{file}.key").chmod(0o600)
        return files


def in_seconds(seconds):
    """A moment from now; certificates have whole seconds."""
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
