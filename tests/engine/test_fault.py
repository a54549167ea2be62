"""Fault points: nothing without the environment's word, a death or a full disk with it."""

import os
import signal
import subprocess
import sys

import pytest

from tests.engine.conftest import ROOT
from tools.engine import fault


def test_a_point_does_nothing_unless_the_environment_asked() -> None:
    assert fault.point is fault._nothing
    fault.point("checkpoint.before_seal")


@pytest.mark.parametrize(
    ("wish", "passings"),
    [pytest.param("here", 1, id="the first"), pytest.param("here:3", 3, id="the third")],
)
def test_a_process_dies_at_the_passing_that_was_named(wish: str, passings: int) -> None:
    code = "from tools.engine import fault\nfor n in range(9):\n    print(n + 1, flush=True); fault.point('there'); fault.point('here')"
    env = {**os.environ, "LUTHIER_FAULT": wish}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL and done.stdout.split()[-1] == str(passings)


def test_a_point_may_find_the_disk_full_instead_once() -> None:
    point = fault.planted("here:2:raise")
    point("here")
    with pytest.raises(OSError, match="No space left"):
        point("here")
    point("here")
