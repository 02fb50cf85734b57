"""`mycelium demo`: the first thing that anyone sees."""

import re

from processes import run


def test_the_demo_loses_nothing_and_says_so_in_lines_without_a_terminal(tmp_path):
    shown = run("demo", "--duration", "1s", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    first, *_, last = shown.stdout.splitlines()
    assert re.fullmatch(r"bridge on tcp://127\.0\.0\.1:\d+; publishing for 1 s", first)
    found = re.fullmatch(r"sent (\d+), received (\d+), lost 0, latency p50 [\d.]+ ms, p99 [\d.]+ ms", last)
    assert found is not None
    assert int(found[1]) == int(found[2]) > 100
    assert shown.stderr == ""
