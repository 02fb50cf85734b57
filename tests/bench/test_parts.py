"""What is sent, what is counted, when it is due, and what is known of the processes."""

import asyncio
import itertools
import json
import sys
import time

import pytest

import mycelium
from mycelium.bench.contender import Contender
from mycelium.bench.errors import ProcessFailed
from mycelium.bench.ours import MYCELIUM
from mycelium.bench.pace import SLOT_NANOSECONDS, slots
from mycelium.bench.process import cpu_seconds, memory_bytes, started
from mycelium.bench.spec import Spec
from mycelium.bench.tally import Tally, percentiles
from mycelium.bench.workload import FIELDS, WORKLOADS, contract_text, readers


def test_the_contracts_have_the_fields_that_the_table_says():
    contracts = mycelium.load(contract_text())
    for name, fields in FIELDS.items():
        assert contracts[name].__match_args__ == tuple(fields)


@pytest.mark.parametrize("name", WORKLOADS)
def test_each_workload_makes_messages_that_can_be_sent_and_read(name):
    contracts, workload, read = mycelium.load(contract_text()), WORKLOADS[name], readers()
    make = workload.maker(contracts, 32)
    made = [make(number) for number in range(64)]
    assert {type(message).__name__ for message in made} == set(workload.types)
    assert all(type(message).from_bytes(message.to_bytes()) == message for message in made)
    assert all(len(read[type(message).__name__](message)) == len(type(message).__match_args__) for message in made)


def test_percentiles_are_microseconds_of_all_values():
    assert percentiles([number * 1000 for number in range(1000)]) == {"p50": 500.0, "p99": 990.0, "p99_9": 999.0}


def test_a_tally_reports_when_all_have_come(capsys):
    async def count():
        tally = Tally(3)
        take, message = tally.take("Ping"), mycelium.load(contract_text()).Ping("x")
        for _ in range(3):
            take(message)
        await tally.until_all()

    asyncio.run(count())
    assert json.loads(capsys.readouterr().out)["delivered"] == 3


def test_what_never_comes_is_missing_in_the_report(capsys, monkeypatch):
    monkeypatch.setattr("mycelium.bench.tally.PATIENCE_SECONDS", 0.1)

    async def count():
        tally = Tally(3)
        stamped = mycelium.load(contract_text()).Stamped
        tally.take("Stamped")(stamped(due=time.monotonic_ns() - 5_000_000, number=1))
        await tally.until_all()

    asyncio.run(count())
    told = json.loads(capsys.readouterr().out)
    assert told["delivered"] == 1
    assert told["p50"] >= 5000


def test_every_number_is_due_once_in_its_slot_and_never_before():
    async def collect():
        return [(due, list(numbers), time.monotonic_ns()) async for due, numbers in slots(25, 5000)]

    found = asyncio.run(collect())
    assert [numbers for _, numbers, _ in found] == [list(range(first, first + 5)) for first in range(0, 25, 5)]
    assert all(later[0] - earlier[0] == SLOT_NANOSECONDS for earlier, later in itertools.pairwise(found))
    assert all(now >= due for due, _, now in found)


def test_a_process_that_ends_early_is_an_error_with_its_name_and_code():
    with started("little helper", ["python", "-c", "raise SystemExit(3)"]) as process:
        with pytest.raises(ProcessFailed, match="the little helper failed: it ended with code 3"):
            process.line()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says")
def test_what_a_process_computes_and_occupies_is_known():
    code = "print([None for _ in range(10**6)] and 1, flush=True); input()"
    with started("helper", ["python", "-c", code]) as process:
        process.line()
        assert 0.001 < cpu_seconds([process]) < 10
        assert 1 << 20 < memory_bytes(process) < 1 << 30


def test_a_contender_says_what_it_lacks():
    def lacking(**what):
        return Contender("x", (), MYCELIUM.serve, **what).missing()

    assert lacking(modules=("sys",)) is None
    assert lacking(modules=("no_such_module",)) == (
        "the module no_such_module cannot be imported; install the `bench` extra"
    )
    assert lacking(programs=("no-such-program",)) == "no-such-program is not on the PATH; install it"


def test_a_spec_survives_the_command_line():
    spec = Spec("publisher", url="tcp://127.0.0.1:1", messages=7, uvloop=True)
    assert Spec.from_json(spec.to_json()) == spec
