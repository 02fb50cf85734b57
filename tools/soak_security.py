"""Tokens, access rules and certificates for a soak over TLS, and how they change."""

from pathlib import Path
from typing import Any, Final

from attrs import define

import mycelium

__all__ = ["Guarded"]

TOKEN: Final = "soak-0123456789abcdef"  # noqa: S105  of a bridge that lives for an hour


@define
class Guarded:
    """Tokens, rules and certificates of a run over TLS, as files; nothing where there is no folder."""

    folder: Path | None
    generation: int = 0
    authority: Any = None

    @classmethod
    def of(cls, folder: str | None) -> "Guarded":
        """In that folder."""
        return cls(Path(folder) if folder else None)

    def security(self) -> mycelium.Security | None:
        """What the bridge is told."""
        if self.folder is None:
            return None
        folder = self.folder
        return mycelium.Security(
            token_file=folder / "tokens",
            acl_file=folder / "acl.yaml",
            tls_cert=folder / "cert.pem",
            tls_key=folder / "key.pem",
        )

    def environment(self) -> dict[str, str]:
        """What clients know it by; all of them are one principal."""
        if self.folder is None:
            return {}
        return {"MYCELIUM_TLS_CA": str(self.folder / "ca.pem"), "MYCELIUM_TOKEN": TOKEN}

    def prepare(self) -> None:
        """Everything for the first time."""
        if self.folder is not None:
            self.rotate()
            self.permit(subscribing=True)
            self.renew()

    def rotate(self) -> None:
        """Other tokens beside the one that is used."""
        self.generation += 1
        self._write("tokens", f"soak: {TOKEN}\nother: another-token-{self.generation:020}\n")

    def permit(self, *, subscribing: bool) -> None:
        """Rules: everything, or nothing to subscribe to."""
        rules = "['*']" if subscribing else "[]"
        self._write("acl.yaml", f"principals: {{soak: {{admin: true, publish: ['*'], subscribe: {rules}}}}}\n")

    def renew(self) -> None:
        """Another certificate of the same authority."""
        import trustme  # of the dev extra

        if self.authority is None:
            self.authority = trustme.CA()
            self._write("ca.pem", self.authority.cert_pem.bytes().decode())
        issued = self.authority.issue_cert("127.0.0.1")
        self._write("key.pem", issued.private_key_pem.bytes().decode())
        self._write("cert.pem", issued.cert_chain_pems[0].bytes().decode())

    def _write(self, name: str, text: str) -> None:
        assert self.folder is not None
        fresh = self.folder / f"{name}.new"
        fresh.write_text(text)
        fresh.chmod(0o600)
        fresh.replace(self.folder / name)
