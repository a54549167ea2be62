"""Killed with -9 at any point and beside any commit, a home goes on as if nothing had happened, and keeps every promise."""

import re
import signal
from collections.abc import Callable

import pytest

from tests.faults.proof import WHOLE
from tests.faults.town import Town
from tests.tools.fakes_runs import ROOT

NewTown = Callable[[], Town]
QUICK = {
    "gateway.perform.before", "gateway.perform.after", "runs.spawn.after", "runs.attempt.after", "runner.lock.before", "runner.spawn.after",
    "runner.exit.before",
}


def points() -> list[str]:
    """Every point that the rooms name, but those of the engine and of the cloud, which their own tests drive."""
    files = [path for room in ("policies", "tools/runs", "agent") for path in sorted((ROOT / room).rglob("*.py"))]
    named = [name for path in files for name in re.findall(r"\bpoint\(\"([a-z_.]+)\"\)", path.read_text())]
    return [name for name in named if not name.startswith("cloud.")]


@pytest.mark.parametrize("point", [one for one in points() if WHOLE or one in QUICK])
def test_killed_at_a_point_a_home_goes_on_and_keeps_every_promise(town: Town, point: str) -> None:
    rc = town.live("life", point)
    assert town.killed_in_runner(point) if point.startswith("runner.") else rc == -signal.SIGKILL, (rc, town.trouble())
    town.sound()


def test_every_point_of_the_engine_is_driven_by_its_own_tests() -> None:
    texts = [path.read_text() for path in (ROOT / "tools/engine").glob("*.py")]
    named = {name for text in texts for name in re.findall(r"\bpoint\(\"([a-z_.]+)\"\)", text)}
    driven = "".join(path.read_text() for path in (ROOT / "tests/engine").glob("test_*.py"))
    assert named and not {name for name in named if f'"{name}' not in driven}


def test_the_sample_names_points_that_exist() -> None:
    assert set(points()) >= QUICK


@pytest.mark.parametrize("side", ["commit.before", "commit.after"])
def test_killed_beside_any_commit_a_home_goes_on_and_keeps_every_promise(new_town: NewTown, side: str) -> None:
    number, stride = 1, 1 if WHOLE else 9
    while True:
        town = new_town()
        rc = town.live("life", f"{side}:{number}")
        if rc == 0:
            break
        assert rc == -signal.SIGKILL, (number, town.trouble())
        town.sound()
        number += stride
    assert number > 30
