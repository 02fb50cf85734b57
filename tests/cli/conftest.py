"""What several modules of tests of the command have in common."""

import shutil

import pytest
from repositories import OLD, Repository


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Where a repository with a contract lies, of which each test gets a copy."""
    made = Repository(tmp_path_factory.mktemp("template"))
    made.git("init", "-q", "-b", "main")
    made.commit(OLD, "one")
    made.git("checkout", "-qb", "feature")
    return made.path


@pytest.fixture
def repository(template, tmp_path):
    """A scratch repository on its feature branch."""
    return Repository(shutil.copytree(template, tmp_path / "work"))
