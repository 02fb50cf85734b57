"""The check in real git repositories: what it says, how it ends, and that its fixes and patches work."""

import json
import re

import pytest
import yaml
from repositories import INSERTED, OLD, REQUIRED, Repository


def pasted(text, printed):
    """The contract with the YAML that the report prints below `fix`, merged where the report says."""
    tree = yaml.safe_load(text)
    lines = printed.splitlines()
    for start, line in enumerate(lines):
        place = re.fullmatch(r" {11}([\w.]+):", line)
        if place:
            block = [one[13:] for one in lines[start + 1 :]]
            end = next(
                (index for index, one in enumerate(lines[start + 1 :]) if not one.startswith(" " * 13)), len(block)
            )
            node = tree
            for step in place[1].split("."):
                node = node[step]
            node.update(yaml.safe_load("\n".join(block[:end])))
    return yaml.safe_dump(tree, sort_keys=False)


# --- the insertion in the middle -------------------------------------------------------------------------------------


def test_a_field_inserted_in_the_middle_fails_with_lines_bytes_and_fix(repository):
    repository.commit(INSERTED, "two")
    done = repository.run("check", "--against", "merge-base:main")
    base = repository.git("rev-parse", "--short=7", "main")
    assert done.returncode == 1
    assert f"contracts.yaml  v2  against  merge-base:main ({base})  v1" in done.stdout
    assert re.search(r"ERROR +FIELD_TAG_SHIFTED +Quote\.size +contracts\.yaml:10", done.stdout)
    assert f"(was {base}:contracts.yaml:9)" in done.stdout
    assert "proof   old bytes 010008000000010000000000000002000400000001000000, new reader: DecodeError" in done.stdout
    assert "lot: {type: u32, tag: 3, optional: true}" in done.stdout
    assert "size: {type: u32, tag: 2}" in done.stdout


@pytest.mark.parametrize("inserted", [INSERTED, INSERTED.replace(", optional: true", "")])
def test_the_fix_as_printed_makes_the_check_pass(repository, inserted):
    repository.commit(inserted, "two")
    done = repository.run("check", "--against", "merge-base:main")
    assert done.returncode == 1
    repository.commit(pasted(inserted, done.stdout), "three")
    again = repository.run("check", "--against", "merge-base:main")
    assert (again.returncode, again.stderr) == (0, "")
    assert "No breaking changes, 1 safe change." in again.stdout


def test_the_patch_of_pin_tags_does_the_same_and_keeps_comments(repository):
    repository.commit(INSERTED, "two")
    repository.apply(repository.run("pin-tags", "--against", "main").stdout)
    text = (repository.path / "contracts.yaml").read_text()
    assert "price: {tag: 1, type: u64}   # cents" in text
    assert "      size:\n        # shares\n        tag: 2\n        type: u32\n" in text
    assert "lot: {tag: 3, type: u32, optional: true}" in text
    assert repository.run("check").returncode == 0
    assert repository.run("pin-tags").stdout == ""


def test_the_same_as_json(repository):
    repository.commit(INSERTED, "two")
    code, report = repository.json("check", "--against", "merge-base:main")
    finding = report["findings"][0]
    assert (code, report["status"], report["level"]) == (1, "incompatible", "none")
    assert (report["new_reads_old"], report["old_reads_new"]) == (False, False)
    assert (finding["rule"], finding["category"], finding["severity"]) == ("FIELD_TAG_SHIFTED", "WIRE", "error")
    assert finding["new_location"] == {"file": "contracts.yaml", "line": 10, "column": 7}
    assert finding["witness"]["hex"] == "010008000000010000000000000002000400000001000000"
    assert "size: {type: u32, tag: 2}" in finding["fix"]["yaml"]
    assert report["suggested"] == {"version": 2, "min_compatible": 2, "semver": "major"}
    assert report["parity"] == {"level": "ForwardCompatible", "issues": [], "warnings": 1}


def test_the_same_for_github_with_summary_and_outputs(repository, tmp_path_factory):
    runner = tmp_path_factory.mktemp("runner")
    repository.commit(INSERTED, "two")
    files = {"GITHUB_STEP_SUMMARY": str(runner / "summary"), "GITHUB_OUTPUT": str(runner / "output")}
    done = repository.run("check", "--against", "merge-base:main", "--format", "github", **files)
    assert done.returncode == 1
    assert done.stdout.startswith("::error file=contracts.yaml,line=10,col=7,title=FIELD_TAG_SHIFTED::A field without")
    assert "| ❌ no | ❌ no | full (any deploy order) | incompatible |" in (runner / "summary").read_text()
    assert (runner / "output").read_text() == "status=incompatible\nlevel=none\ninfos=1\nwarnings=1\nerrors=1\n"


def test_one_run_feeds_every_format(repository):
    repository.commit(INSERTED, "two")
    done = repository.run("check", "--output", "json=a.json", "--output", "sarif=b.sarif", "--output", "github=c.txt")
    assert "FIELD_TAG_SHIFTED" in done.stdout
    report = json.loads((repository.path / "a.json").read_text())
    log = json.loads((repository.path / "b.sarif").read_text())
    result = log["runs"][0]["results"][0]
    assert result["partialFingerprints"] == {"mycelium/v1": report["findings"][0]["fingerprint"]}
    assert log["runs"][0]["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "FIELD_TAG_SHIFTED"
    assert (repository.path / "c.txt").read_text().startswith("::error ")


# --- baselines -------------------------------------------------------------------------------------------------------


def test_the_work_tree_is_never_touched(repository):
    repository.commit(INSERTED, "two")
    repository.write(REQUIRED)
    (repository.path / "untracked").write_text("mine")
    before = (repository.git("status", "--porcelain"), (repository.path / "contracts.yaml").read_text())
    for source in ("main", "merge-base:main", "HEAD~1", "git:HEAD:contracts.yaml"):
        assert repository.run("check", "--against", source).returncode == 1
    assert (repository.git("status", "--porcelain"), (repository.path / "contracts.yaml").read_text()) == before


@pytest.mark.parametrize("source", ["main", "merge-base:main", "HEAD~1", "git:HEAD~1", "main:contracts.yaml", "tag:v*"])
def test_git_names_are_baselines(repository, source):
    repository.git("tag", "v1.0", "main")
    repository.commit(REQUIRED, "two")
    code, report = repository.json("check", "--against", source)
    assert (code, report["level"]) == (1, "forward")
    assert report["previous"]["version"] == 1


def test_a_file_wins_over_a_ref_of_the_same_name_and_git_forces(repository):
    repository.commit(REQUIRED, "two")
    repository.write(REQUIRED, "main")
    assert repository.run("check", "--against", "main").returncode == 0
    assert repository.run("check", "--against", "git:main").returncode == 1


def test_standard_input_is_a_baseline(repository):
    repository.write(REQUIRED)
    assert repository.run("check", "--against", "-", stdin=OLD).returncode == 1
    assert repository.run("compat", "-", "contracts.yaml", stdin=REQUIRED).returncode == 0


@pytest.mark.parametrize("variable", ["GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"])
def test_continuous_integration_says_what_the_change_is_for(repository, variable):
    repository.git("branch", "release", "main")
    repository.commit(REQUIRED, "two")
    code, report = repository.json("check", **{variable: "release"})
    assert code == 1
    assert report["previous"]["name"].startswith("merge-base:release (")


def test_a_renamed_file_is_followed(repository):
    repository.git("mv", "contracts.yaml", "feed.yaml")
    repository.commit(REQUIRED, "two", "feed.yaml")
    code, report = repository.json("check", "feed.yaml", "--against", "main")
    assert (code, report["level"]) == (1, "forward")


def test_a_contract_that_the_baseline_lacks_is_no_baseline_unless_allowed(repository):
    repository.commit(OLD, "new file", "other.yaml")
    code, report = repository.json("check", "other.yaml", "--against", "main")
    assert (code, report["status"]) == (4, "no_baseline")
    code, report = repository.json("check", "other.yaml", "--against", "main", "--allow-missing-baseline")
    assert (code, report["status"]) == (0, "ok")


def test_a_shallow_clone_says_what_to_fetch(repository, tmp_path_factory):
    repository.commit(REQUIRED, "two")
    clone = tmp_path_factory.mktemp("clone") / "shallow"
    repository.git("clone", "-q", "--depth=1", "--branch", "feature", f"file://{repository.path}", str(clone))
    shallow = Repository(clone)
    done = shallow.run("check", "--against", "merge-base:main")
    assert done.returncode == 4
    assert "git fetch --depth=200 origin main" in done.stderr


def test_the_profile_rust_wants_equal_structs_also_from_a_configuration_file(repository):
    repository.write(OLD.replace("n: 1, m", "n: 2, m") + "      venue: {type: u16, optional: true}\n")
    assert repository.run("check", "--against", "main").returncode == 0
    refused = repository.run("check", "--against", "main", "--profile", "rust")
    assert refused.returncode == 1
    assert "LAYOUT_CHANGED" in refused.stdout
    assert "old offset" in refused.stdout
    repository.write("profile: rust\n", ".mycelium-compat.yaml")
    assert repository.run("check", "--against", "main").returncode == 1
    assert repository.run("check", "--against", "main", "--profile", "tlv").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (["check", "--against", "nowhere"], 4, "no_baseline"),
        (["check", "--against", "--upload-pack=x"], 2, None),
        (["check", "--against=--upload-pack=x"], 4, "no_baseline"),
        (["check", "--against", "tcp://127.0.0.1:1"], 4, "no_baseline"),
        (["check", "missing.yaml", "--against", "main"], 4, "no_baseline"),
        (["check", "broken.yaml", "--against", "main:contracts.yaml"], 3, "invalid"),
        (["check", "--against", "broken.yaml"], 3, "invalid"),
        (["check", "--against", "main", "--severity", "NO_SUCH_RULE=error"], 2, "usage"),
        (["check", "--against", "main", "--profile", "xml"], 2, None),
        (["check", "--against", "main", "--output", "html=x"], 2, "usage"),
        (["lock", "--check"], 5, "stale"),
    ],
)
def test_a_failed_run_never_reads_as_clean(repository, arguments, code, status):
    repository.write("messages: {", "broken.yaml")
    done = repository.run(*arguments, "--format", "json")
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    if status is not None:
        assert json.loads(done.stdout)["status"] == status


def test_an_invalid_contract_says_which_side(repository):
    repository.write("messages: {M: {tlv_type: 1001, fields: {a: {type: u9}}}}")
    assert "the new contract is invalid" in repository.run("check", "--against", "main").stderr
    repository.write(OLD)
    assert "the old contract is invalid" in repository.run("check", "--against", "-", stdin="messages: 1").stderr


# --- policy ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 1),
        (["--level", "forward"], 0),
        (["--level", "writers-first"], 0),
        (["--level", "backward"], 1),
        (["--level", "none"], 0),
        (["--level", "none", "--fail-on", "warning"], 1),
        (["--severity", "FIELD_ADDED_REQUIRED=warning"], 0),
        (["--skip", "FIELD_ADDED_REQUIRED"], 0),
        (["--skip", "Quote"], 0),
        (["--only", "MESSAGE_REMOVED"], 0),
        (["--only", "messages.Quote.fields.venue"], 1),
    ],
)
def test_policy_decides_what_fails(repository, options, code):
    repository.write(REQUIRED)
    assert repository.run("check", "--against", "main", *options).returncode == code


def test_settings_come_from_files_and_the_command_line_wins(repository):
    repository.write(REQUIRED)
    repository.write('[tool.mycelium.compat]\nlevel = "none"\nagainst = "main"\n', "pyproject.toml")
    assert repository.run("check").returncode == 0
    assert repository.run("check", "--level", "full").returncode == 1
    repository.write("level: backward\n", ".mycelium-compat.yaml")
    assert repository.run("check").returncode == 1
    repository.write("levle: backward\n", ".mycelium-compat.yaml")
    done = repository.run("check")
    assert done.returncode == 2
    assert "did you mean level?" in done.stderr


def test_an_accepted_break_passes_and_stays_in_the_report(repository):
    repository.commit(REQUIRED, "two")
    _, report = repository.json("check")
    fingerprint = report["findings"][0]["fingerprint"]
    assert repository.run("accept", fingerprint, "--reason", " ").returncode == 2
    assert repository.run("accept", "0" * 12, "--reason", "x").returncode == 1
    assert repository.run("accept", fingerprint, "--reason", "all writers: on 1.4").returncode == 0
    code, report = repository.json("check")
    assert (code, report["status"], report["new_reads_old"]) == (0, "ok", False)
    assert report["findings"][0]["waiver"]["reason"] == "all writers: on 1.4"
    assert "waived  all writers: on 1.4" in repository.run("check").stdout


def test_expired_and_unused_waivers_are_reported(repository):
    repository.commit(REQUIRED, "two")
    _, report = repository.json("check")
    fingerprint = report["findings"][0]["fingerprint"]
    entry = (
        "waivers:\n- {{fingerprint: {}, reason: old, until: 2020-01-31}}\n- {{fingerprint: 00000000beef, reason: x}}\n"
    )
    repository.write(entry.format(fingerprint), ".mycelium-compat.yaml")
    code, report = repository.json("check")
    assert code == 1
    assert [one["fingerprint"] for one in report["waivers"]["expired"]] == [fingerprint]
    assert [one["fingerprint"] for one in report["waivers"]["unused"]] == ["00000000beef"]
