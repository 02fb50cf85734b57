"""The package and its release: metadata, workflows, and the tools that look at both before anybody else does."""

import importlib
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from processes import ROOT

TOOLS = ROOT / "tools"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.0] - 2026-01-31

### Added

- Something.

## [1.1.0] - 2025-12-24

- Before.
"""


@pytest.fixture(autouse=True)
def _tools(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))


def tool(name):
    return importlib.import_module(name)


def test_the_classifiers_name_the_pythons_that_are_tested_and_no_others():
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"]]
    pythons = [name for name in named if re.fullmatch(r"3\.\d+", name)]
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    assert WORKFLOWS["ci"]["jobs"]["gate"]["strategy"]["matrix"]["python"] == pythons
    assert WORKFLOWS["release"]["jobs"]["test"]["strategy"]["matrix"]["python"] == pythons


def test_only_the_job_that_publishes_may_prove_who_it_is():
    jobs = WORKFLOWS["release"]["jobs"]
    assert WORKFLOWS["release"]["permissions"] == WORKFLOWS["ci"]["permissions"] == {"contents": "read"}
    assert [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})] == ["publish"]
    assert set(jobs["publish"]["needs"]) == {"test", "onefile"}
    assert not any("checkout" in step.get("uses", "") for step in jobs["publish"]["steps"]), "it runs no code of ours"
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert any(one.startswith("pypa/gh-action-pypi-publish@") for one in used)
    assert any(one.startswith("actions/attest-build-provenance@") for one in used)


def test_what_workflows_run_is_there():
    for workflow in WORKFLOWS.values():
        for job in workflow["jobs"].values():
            for step in job["steps"]:
                for name in re.findall(r"(?:tools|\.ci)/[\w/.]+", step.get("run", "")):
                    assert (ROOT / name).is_file(), name


def test_the_version_is_written_in_one_place():
    from mycelium import __version__

    assert tool("check_release").version() == __version__
    assert PROJECT["dynamic"] == ["version"]
    grep = ["git", "-C", ROOT, "grep", "-lF", f'"{__version__}"', "--", "*.py", "*.toml"]
    named = subprocess.run(grep, capture_output=True, text=True, check=False)
    if named.returncode == 0:  # in a checkout
        assert [name for name in named.stdout.split() if not name.startswith("tests/")] == ["mycelium/_version.py"]


@pytest.mark.parametrize(
    ("tag", "version", "readme", "words"),
    [
        ("v1.2.0", "1.2.0", "  rev: v1.2.0\n", None),
        ("v1.2.1", "1.2.0", "", "the tag is v1.2.1, and mycelium/_version.py says 1.2.0"),
        ("v1.3.0", "1.3.0", "", "has no section `## [1.3.0] - YYYY-MM-DD`"),
        ("v1.2.0", "1.2.0", "  rev: v1.1.0\n", "README.md tells others to pin v1.1.0"),
    ],
)
def test_a_release_needs_its_tag_its_version_and_its_changes_to_agree(tag, version, readme, words):
    found = list(tool("check_release").faults(tag, version, CHANGELOG, readme))
    assert (words is None and found == []) or words in found[0]


def test_changes_that_belong_to_no_release_are_found():
    changelog = CHANGELOG.replace("## [Unreleased]\n", "## [Unreleased]\n\n- Late.\n")
    assert "under `Unreleased`" in next(tool("check_release").faults("v1.2.0", "1.2.0", changelog, ""))


def test_the_notes_of_a_release_are_its_section_and_no_other():
    assert tool("check_release").sections(CHANGELOG)["1.2.0"] == ("2026-01-31", "### Added\n\n- Something.")


def test_the_changelog_has_the_form_that_a_release_reads():
    assert "Unreleased" in tool("check_release").sections((ROOT / "CHANGELOG.md").read_text())


def test_what_does_not_belong_into_a_wheel_is_named_and_what_is_missing():
    info = [f"mycelium_py-1.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")]
    right = ["mycelium/__init__.py", "mycelium/py.typed", "mycelium/contracts.yaml", *info]
    source = {"mycelium/__init__.py", "mycelium/py.typed"}
    licence = "mycelium_py-1.dist-info/licenses/LICENSE"
    check = tool("check_package").wheel_faults
    assert list(check([*right, licence], source)) == []
    assert list(check([*right, "tests/test_x.py"], source)) == [
        "the wheel lacks licenses/LICENSE",
        "the wheel has tests/test_x.py, which does not belong there",
    ]
    assert list(check([licence, *right[1:]], source)) == ["the wheel lacks mycelium/__init__.py"]


def test_a_source_distribution_has_the_tests_and_nothing_that_git_does_not_know():
    names = ["mycelium_py-1/PKG-INFO", "mycelium_py-1/tests/test_x.py", "mycelium_py-1/.coverage"]
    assert list(tool("check_package").sdist_faults(names, {"tests/test_x.py", ".ci/run"})) == [
        "the sdist lacks .ci/run",
        "the sdist has .coverage, which does not belong there",
    ]


def test_the_smoke_test_passes_for_no_checkout():
    command = [sys.executable, "-c", "import sys; sys.path[:0] = ['tools', '.']; import smoke; smoke.is_installed()"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "is no part of" in ran.stderr
