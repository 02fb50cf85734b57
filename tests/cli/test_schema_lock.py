"""The lockfile in real git repositories, and the commands beside the check: bump, diff, rules and explain."""

import json
import os
import subprocess
import sys
from pathlib import Path

from repositories import INSERTED, OLD, REQUIRED, Repository

ROOT = Path(__file__).resolve().parents[2]


def test_the_lock_takes_compatible_versions_only_and_remembers_every_number(repository):
    assert repository.run("lock").returncode == 0
    assert repository.run("lock", "--check").returncode == 0
    repository.write(REQUIRED)
    assert repository.run("lock", "--check").returncode == 5
    assert repository.run("lock").returncode == 1
    grown = REQUIRED.replace("venue: {type: u16}", "venue: {type: u16, optional: true}")
    repository.write(grown)
    assert repository.run("lock").returncode == 0
    shrunk = grown.replace("n: 2, m", "n: 3, m").replace("      venue: {type: u16, optional: true}\n", "")
    repository.write(shrunk)
    assert repository.run("lock").returncode == 0
    reborn = shrunk.replace("n: 3, m", "n: 4, m") + "      other: {type: u32, optional: true}\n"
    repository.write(reborn)
    code, report = repository.json("check", "--against", "lock")
    assert code == 1
    assert report["findings"][0]["rule"] == "FIELD_RESERVED_TAG_USED"
    assert "`venue`" in report["findings"][0]["message"]
    assert repository.json("check", "--level", "full-transitive")[1]["transitive"]["versions"] == [1, 2]
    code, report = repository.json("check", "--against", "lock:all")
    assert report["policy"]["level"] == "full-transitive"
    assert "FIELD_TAG_REUSED" in {one["rule"] for one in report["findings"]}


def test_a_locked_version_cannot_change_its_meaning(repository):
    assert repository.run("lock").returncode == 0
    repository.write(OLD + "      note: {type: String, optional: true}\n")
    done = repository.run("lock")
    assert done.returncode == 1
    assert "version 1 is locked with another content" in done.stderr


def test_the_lock_is_the_baseline_where_there_is_one(repository):
    repository.run("lock")
    _, report = repository.json("check")
    assert report["previous"]["name"] == "contracts.lock"


def test_a_lockfile_that_was_edited_is_no_baseline(repository):
    repository.run("lock")
    lock = repository.path / "contracts.lock"
    lock.write_text(lock.read_text().replace('"type": "u64"', '"type": "u32"', 1))
    assert repository.run("check").returncode == 4


def test_several_baselines_make_the_check_transitive(repository):
    optional = OLD.replace("n: 1, m", "n: 2, m").replace("type: u32", "type: u32\n        optional: true")
    repository.commit(optional, "two")
    repository.git("tag", "v2")
    removed = OLD.replace("n: 1, m", "n: 3, m").split("      size:")[0]
    repository.write(removed)
    assert repository.run("check", "--against", "v2").returncode == 0
    code, report = repository.json("check", "--against", "v2", "--against", "main")
    assert (code, report["previous"]["version"]) == (1, 2)
    assert [one["against"] for one in report["findings"] if one["severity"] == "error"] == ["version 1"]
    assert repository.run("check", "--against", "v2", "--against", "main", "--level", "backward").returncode == 0


def test_bump_prints_the_edit(repository):
    repository.commit(REQUIRED, "two")
    done = repository.run("bump")
    assert "+schema: {id: 0x10, version: 2, min_compatible: 2}" in done.stdout
    repository.apply(done.stdout)
    assert repository.run("bump").stdout == ""


def test_diff_shows_everything_and_never_fails(repository):
    repository.write(INSERTED)
    done = repository.run("diff", "--against", "main")
    assert done.returncode == 0
    assert "FIELD_ADDED_OPTIONAL" in done.stdout
    assert "FIELD_TAG_SHIFTED" in done.stdout


def test_a_clean_run_is_one_line_and_says_whether_anything_changed(repository):
    assert repository.run("check", "--against", "main").stdout.endswith("No changes.\n")
    repository.write(OLD.replace("n: 1, m", "n: 2, m") + "      note: {type: String, optional: true}\n")
    safe = repository.run("check", "--against", "main").stdout
    assert safe.count("\n") == 1
    assert safe.endswith("No breaking changes, 1 safe change.\n")


def test_rules_and_explain(repository):
    rules = json.loads(repository.run("rules", "--format", "json").stdout)
    assert {"id", "category", "severity", "why", "hint", "unprovable"} <= rules[0].keys()
    assert "Pin the tags" in repository.run("explain", "field_tag_shifted").stdout
    unknown = repository.run("explain", "FIELD_TAG_SHIFT")
    assert unknown.returncode == 2
    assert "did you mean FIELD_TAG_SHIFTED?" in unknown.stderr


def test_the_script_runs_without_an_install(tmp_path):
    (tmp_path / "old.yaml").write_text(OLD)
    (tmp_path / "new.yaml").write_text(REQUIRED)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    script = [sys.executable, str(ROOT / "tools" / "schema_compat.py"), "old.yaml", "new.yaml", "--parity"]
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "upstream       ForwardCompatible; issues: none; warnings: 1" in done.stdout


def test_variables_that_git_sets_for_its_hooks_do_no_harm(repository):
    (repository.path / "deep").mkdir()
    repository.commit(OLD, "moved", "deep/contracts.yaml")
    repository.write(REQUIRED, "deep/contracts.yaml")
    done = repository.run("check", "deep/contracts.yaml", "--against", "HEAD", GIT_DIR=".git", GIT_INDEX_FILE="x")
    assert (done.returncode, done.stderr) == (1, "")


def test_outside_of_a_work_tree_git_names_are_no_baselines(tmp_path):
    lonely = Repository(tmp_path)
    lonely.write(OLD)
    assert "not a git repository" in lonely.run("check", "--against", "main").stderr
    assert lonely.run("check").returncode == 4
    assert "tag: 1" in lonely.run("pin-tags").stdout


def test_a_table_of_experimental_messages_promises_nothing(repository):
    probe = OLD.replace("1001", "50001")
    repository.write(probe.replace("u64", "u32"))
    done = repository.run("check", "--against", "-", stdin=probe)
    assert done.returncode == 0
    assert "WARN   FIELD_TYPE_CHANGED" in done.stdout
