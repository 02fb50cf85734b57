"""The lockfile: what it holds, what it refuses, and the peers that it makes known."""

import json

import pytest

from mycelium.schema.compat.lockfile import Lock, LockError, entry_of, read_lock
from mycelium.schema.parse import parse_text

FIRST = b"schema: {id: 5, version: 1}\nmessages: {M: {tlv_type: 1001, fields: {a: {type: u8}, b: {type: u16}}}}\n"
SECOND = b"schema: {id: 5, version: 2}\nmessages: {M: {tlv_type: 1001, fields: {a: {type: u8}}}}\n"


def locked(*texts):
    lock = Lock()
    for text in texts:
        lock = lock.adding(entry_of(parse_text(text), text))
    return lock


def test_it_reads_what_it_writes():
    lock = locked(FIRST, SECOND)
    assert read_lock(lock.text()) == lock
    assert read_lock(lock.text()).text() == lock.text()


def test_peers_are_known_by_digest_and_by_the_hash_of_their_text():
    lock = locked(FIRST, SECOND)
    digest = parse_text(FIRST).digest
    assert lock.by_digest[digest].schema.messages["M"].by_name["b"].tag == 2
    assert set(lock.by_sha256) == {entry.sha256 for entry in lock.entries}
    assert all(len(sha256) == 64 for sha256 in lock.by_sha256)


def test_every_number_ever_used_is_remembered():
    tombstones = locked(FIRST, SECOND).tombstones
    assert tombstones.type_ids == {1001: ("M",)}
    assert tombstones.fields == {"M": {1: (("a", "u8"),), 2: (("b", "u16"),)}}


def test_the_same_version_may_change_its_words_but_not_its_meaning():
    worded = FIRST.replace(b"{type: u8}", b"{type: u8, description: words}")
    assert len(locked(FIRST, worded).entries) == 1
    with pytest.raises(LockError, match="locked with another content"):
        locked(FIRST, FIRST.replace(b"u16", b"u32"))
    with pytest.raises(LockError, match="older than version 2"):
        locked(SECOND, FIRST)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: whole.update(lock_version=9),
        lambda whole: whole.pop("tombstones"),
        lambda whole: whole["versions"][0].update(digest="0" * 64),
        lambda whole: whole["versions"][0]["model"].update(messages=5),
        lambda whole: whole.update(tombstones={"type_ids": {"x": []}}),
    ],
)
def test_a_lockfile_that_was_edited_is_refused(spoil):
    whole = json.loads(locked(FIRST).text())
    spoil(whole)
    with pytest.raises(LockError):
        read_lock(json.dumps(whole))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"lock_version": 1}'])
def test_what_is_no_lockfile_is_refused(text):
    with pytest.raises(LockError):
        read_lock(text)
