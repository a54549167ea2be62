"""Fixtures of the audit tests: a signed log of twenty-four records, checkpoints after 10 and 20, and one at the end."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.policies.audit.logs import Signed, open_log


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, blank_book: Path) -> Signed:
    """The log, made once and closed: copying it is much quicker than writing it anew."""
    made = open_log(tmp_path_factory.mktemp("template") / "home", blank_book, every=10)
    made.add(24)
    made.seal()
    made.book.close()
    return made


@pytest.fixture
def signed(tmp_path: Path, template: Signed) -> Iterator[Signed]:
    """A copy of it that is open for more."""
    shutil.copytree(template.path.parent, tmp_path / "home")
    made = open_log(tmp_path / "home", template.path, every=10)
    yield made
    made.book.close()
