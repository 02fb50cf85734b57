"""Benchmarks run, and say of each figure whether it is what it must be."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


def figures(tool, *options):
    """What a benchmark prints for machines."""
    command = [sys.executable, str(TOOLS / f"{tool}.py"), "--json", "--rounds", "1", *options]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def judged(unit, values, must, aim):
    code = f"from figures import Row; print(Row('', '', {unit!r}, {values}, {must}, {aim}).verdict)"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=TOOLS, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize(
    ("unit", "values", "must", "aim", "verdict"),
    [
        ("x", [0.1, 1.6, 9.0], 1.2, 1.6, "aim"),
        ("x", [1.2], 1.2, 1.6, "must"),
        ("x", [1.19], 1.2, 1.6, "LOST"),
        ("ms", [10.0, 50.0, 900.0], 80, 50, "aim"),
        ("ms", [80.0], 80, 50, "must"),
        ("ms", [81.0], 80, 50, "LOST"),
        ("ms", [81.0], None, None, ""),
    ],
)
def test_a_median_is_held_against_both_targets(unit, values, must, aim, verdict):
    assert judged(unit, values, must, aim) == verdict


def test_codec_figures_are_ratios_of_the_same_round_and_nanoseconds():
    printed = figures("bench_codec", "--seconds", "0.0005", "--only", "mycelium", "mycelium codec", "struct loop")
    assert {(row["against"], row["unit"]) for row in printed["rows"]} == {("struct loop", "x")}
    assert len(printed["rows"]) == 4
    assert {row["verdict"] for row in printed["rows"]} <= {"aim", "must", "LOST"}
    operations = {one["operation"] for one in printed["results"]}
    assert operations >= {"encode held", "decode+read", "encode frame", "decode_run of 256", "verify_run of 2000"}
    assert all(one["median"] > 0 and one["unit"] == "ns" for one in printed["results"])


def test_codec_figures_by_number_of_fields():
    printed = figures("bench_codec", "--fields", "--seconds", "0.0001", "--only", "mycelium")
    assert {one["case"] for one in printed["results"]} >= {"u32_1", "u32_64", "String_1", "String_64"}


def test_start_figures_are_milliseconds():
    printed = figures("bench_start")
    assert [(row["unit"], row["must"]) for row in printed["rows"]] == [("ms", 80), ("ms", 1500), ("ms", None)]
