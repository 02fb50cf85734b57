"""Hot reload: an edit is followed through every way to replace a file, or refused with the reasons."""

import asyncio
import contextlib
import gc
import os
from pathlib import Path

import pytest

import mycelium
from mycelium.bus.reload import Reloader, judge
from mycelium.events import SchemaChanged, SchemaRefused
from mycelium.schema.parse import parse_text

FIELDS = {
    "value": "{type: String}",
}


def text(version=1, **extra):
    """A contract with one message, and fields beside `value`."""
    fields = ", ".join(f"{name}: {kind}" for name, kind in {**FIELDS, **extra}.items())
    return (
        f"schema: {{id: 5, version: {version}, min_compatible: 1}}\n"
        f"messages:\n  Ping: {{tlv_type: 1010, fields: {{{fields}}}}}\n"
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "contracts.yaml"
    path.write_text(text())
    return path


@contextlib.asynccontextmanager
async def followed(file, policy="full"):
    """A handle that follows its file, and the changes that it tells of."""
    contracts = mycelium.load(file)
    changes = asyncio.Queue()
    end = contracts.on_change(changes.put_nowait)
    async with contracts.watching(policy):
        yield contracts, changes
    end()


async def applied(changes):
    change = await asyncio.wait_for(changes.get(), 10)
    assert change.outcome == "applied", change.reasons
    return change


async def test_an_accepted_edit_reaches_the_imported_name(file):
    async with followed(file) as (contracts, changes):
        Ping = contracts.Ping  # noqa: N806
        before = Ping("x")
        file.write_text(text(2, venue="{type: u16, default: 7}"))
        change = await applied(changes)
        assert (change.previous.version, change.current.version) == (1, 2)
        assert isinstance(change.event, SchemaChanged)
        assert Ping("x", venue=9).venue == 9
        assert before.venue == 7
        assert contracts.schema.version == 2


async def test_a_refused_edit_changes_nothing_and_says_why_in_the_checkers_words(file):
    async with followed(file) as (contracts, changes):
        registry = contracts.registry
        file.write_text(text(2).replace("String", "u64"))
        change = await asyncio.wait_for(changes.get(), 10)
        assert change.outcome == "incompatible"
        assert "FIELD_TYPE_CHANGED" in change.reasons[0]
        assert isinstance(change.event, SchemaRefused)
        assert contracts.registry is registry
        file.write_text(text(2, n="{type: u8, optional: true}"))
        await applied(changes)


async def test_p71_an_invalid_file_leaves_the_last_good_schema_and_names_the_line(file):
    async with followed(file) as (contracts, changes):
        file.write_text("messages:\n  Ping: {tlv_type: 1010, fields: {value: {typ: String}}}\n")
        change = await asyncio.wait_for(changes.get(), 10)
        assert change.outcome == "invalid"
        assert f"{file}:2:" in change.reasons[0]
        assert contracts.schema.version == 1


def in_place(file, content):
    with file.open("r+") as handle:
        handle.write(content)
        handle.truncate()


def rename(file, content):
    new = file.with_name("new")
    new.write_text(content)
    new.replace(file)


def truncate_and_write(file, content):
    with file.open("w") as handle:
        handle.flush()
        handle.write(content)


def editor_backup(file, content):
    file.rename(file.with_name("contracts.yaml~"))
    file.write_text(content)


def remove_and_recreate(file, content):
    file.unlink()
    file.write_text(content)


@pytest.mark.parametrize("replace", [in_place, rename, truncate_and_write, editor_backup, remove_and_recreate])
async def test_p70_each_way_to_replace_a_file_is_one_reload(file, replace):
    async with followed(file) as (_, changes):
        replace(file, text(2, n="{type: u8, optional: true}"))
        await applied(changes)
        replace(file, text(3, n="{type: u8, optional: true}", m="{type: u8, optional: true}"))
        assert (await applied(changes)).current.version == 3
        assert changes.empty()


async def test_p70_a_symlink_that_is_swapped_is_one_reload(tmp_path):
    for version in (1, 2):
        (tmp_path / f"v{version}.yaml").write_text(text(version))
    link = tmp_path / "contracts.yaml"
    link.symlink_to("v1.yaml")
    async with followed(link) as (_, changes):
        swap = tmp_path / "swap"
        swap.symlink_to("v2.yaml")
        swap.replace(link)
        assert (await applied(changes)).current.version == 2
        assert changes.empty()


async def test_p70_a_mounted_config_map_that_is_swapped_is_one_reload(tmp_path):
    for version in (1, 2):
        folder = tmp_path / f"..{version}"
        folder.mkdir()
        (folder / "contracts.yaml").write_text(text(version))
    (tmp_path / "..data").symlink_to("..1")
    file = tmp_path / "contracts.yaml"
    file.symlink_to("..data/contracts.yaml")
    async with followed(file) as (_, changes):
        swap = tmp_path / "..tmp"
        swap.symlink_to("..2")
        os.replace(swap, tmp_path / "..data")  # noqa: PTH105  replaces the link, not what it points to
        assert (await applied(changes)).current.version == 2
        assert changes.empty()


async def test_p69_a_file_that_is_being_written_waits_until_it_is_whole(file):
    content = text(2, n="{type: u8, optional: true}") + "# " + "x" * 400 + "\n"
    async with followed(file) as (_, changes):
        with file.open("w") as handle:
            for start in range(0, len(content), len(content) // 20):
                handle.write(content[start : start + len(content) // 20])
                handle.flush()
                await asyncio.sleep(0.03)  # as slowly as the case says
        await applied(changes)
        assert changes.empty()


async def test_p73_a_removed_file_is_waited_for(file):
    async with followed(file) as (contracts, changes):
        file.unlink()
        assert contracts.Ping("x").to_bytes()
        file.write_text(text(2))
        assert (await applied(changes)).current.version == 2


async def test_an_edit_that_says_the_same_in_other_words_is_unchanged(file):
    async with followed(file) as (_, changes):
        file.write_text(text() + "# a comment\n")
        change = await asyncio.wait_for(changes.get(), 10)
        assert (change.outcome, change.event) == ("unchanged", None)


async def test_force_applies_what_the_policy_refuses(file):
    contracts = mycelium.load(file)
    reloader = Reloader(contracts)
    file.write_text(text(2).replace("String", "u64"))
    assert (await reloader.reload()).outcome == "incompatible"
    assert (await reloader.reload(force=True)).outcome == "applied"
    assert contracts.Ping(3).to_bytes() == bytes.fromhex("010008000000" + "03" + "00" * 7)


async def test_a_listener_that_raises_stops_nothing(file, caplog):
    contracts = mycelium.load(file)
    seen = []

    def failing(_):
        raise RuntimeError("boom")

    contracts.on_change(failing)
    contracts.on_change(seen.append)
    file.write_text(text(2))
    await Reloader(contracts).reload()
    assert [change.outcome for change in seen] == ["applied"]
    assert "boom" in caplog.text


async def test_a_handle_without_a_file_has_nothing_to_follow(contracts):
    with pytest.raises(ValueError, match="no file to follow"):
        await contracts.watch()


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_reloads_leak_no_file_handles(file):
    reloader = Reloader(mycelium.load(file))

    async def cycle(times):
        for number in range(times):
            extra = {"n": "{type: u8, optional: true}"} if number % 2 else {}
            file.write_text(text(number + 2, **extra))
            assert (await reloader.reload()).outcome == "applied"

    await cycle(4)
    gc.collect()
    before = open_files()
    await cycle(40)
    gc.collect()
    assert open_files() == before


BASE = """
messages:
  Ping:
    {tlv_type: 1010, domain: A,
     fields: {a: {type: u8}, b: {type: u8, optional: true}, c: {type: u8, tag: 9, default: 1}}}
  Pong: {tlv_type: 1011, fields: {}}
"""


@pytest.mark.parametrize(
    ("edit", "policy", "outcome"),
    [
        (("b: {type: u8, optional: true}, ", ""), "full", "applied"),
        (("c: {type: u8, tag: 9, default: 1}", ""), "full", "applied"),
        (("a: {type: u8}", "a: {type: u8, validation: [{min: 3}]}"), "full", "applied"),
        (("a: {type: u8}", "a: {type: u8, optional: true}"), "full", "incompatible"),
        (("a: {type: u8}", "a: {type: u8, optional: true}"), "backward", "applied"),
        (("a: {type: u8}", "x: {type: u8}"), "full", "incompatible"),
        (("a: {type: u8}", "x: {type: u8}"), "backward", "incompatible"),
        (("a: {type: u8}", "x: {type: u8, renamed_from: a}"), "full", "applied"),
        (("domain: A", "domain: B"), "forward", "incompatible"),
        (("domain: A", "domain: B"), "none", "applied"),
        (("  Pong: {tlv_type: 1011, fields: {}}\n", ""), "forward", "incompatible"),
        (("Pong: {tlv_type: 1011", "Peng: {renamed_from: Pong, tlv_type: 1011"), "full", "applied"),
        (("Pong: {tlv_type: 1011", "Peng: {tlv_type: 1011"), "full", "incompatible"),
        (("a: {type: u8}, ", ""), "backward", "incompatible"),
        (("a: {type: u8}", "a: {type: i8}"), "none", "applied"),
    ],
)
def test_what_each_reload_policy_lets_through(edit, policy, outcome):
    before, after = edit
    assert before in BASE
    assert judge(parse_text(BASE), parse_text(BASE.replace(before, after)), policy, "x").outcome == outcome


@pytest.mark.parametrize("policy", ["full", "none"])
def test_where_structs_are_guarded_no_policy_lets_another_one_pass(policy):
    before, after = parse_text(text()), parse_text(text(2, more="{type: u8, optional: true}"))
    assert judge(before, after, policy, "x").outcome == "applied"
    refused = judge(before, after, policy, "x", "rust")
    assert refused.outcome == "incompatible"
    assert any(
        one.startswith("LAYOUT_CHANGED Ping: The struct of `Ping` has 42 bytes in place of 40")
        for one in refused.reasons
    )
    assert "LAYOUT_CHANGED" in [one.rule for one in refused.report.issues]
    assert refused.report.level == "none"
    assert judge(before, parse_text(text(2)), policy, "x", "rust").outcome == "applied"
