"""Points at which a test may kill the process; nothing otherwise."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from policies import fault

ROOT = Path(__file__).resolve().parent.parent.parent
LOOP = "from policies import fault\nfor n in range(5):\n    print(n, flush=True)\n    fault.point('a')\n    fault.point('b')\n"


def run(wish: str | None) -> tuple[int, list[str]]:
    env = {key: value for key, value in os.environ.items() if key != "LUTHIER_FAULT"} | ({"LUTHIER_FAULT": wish} if wish else {})
    done = subprocess.run([sys.executable, "-c", LOOP], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.split()


@pytest.mark.parametrize(
    ("wish", "rc", "passed"), [(None, 0, 5), ("c", 0, 5), ("a", -9, 1), ("a:1", -9, 1), ("b:3", -9, 3), ("a:9", 0, 5), ("a:2:raise", 1, 2)]
)
def test_the_process_ends_at_the_named_passing_of_the_named_point_and_nowhere_else(wish: str | None, rc: int, passed: int) -> None:
    code, said = run(wish)
    assert (code, len(said)) == (rc, passed)


def test_a_full_disk_is_raised_once() -> None:
    point = fault.planted("a:2:raise")
    point("a")
    with pytest.raises(OSError) as full:
        point("a")
    assert full.value.errno == errno.ENOSPC
    point("a")


def test_every_point_of_a_room_has_one_name_in_one_place() -> None:
    import re

    for room in ("tools/runs", "policies", "agent"):
        found = [name for path in (ROOT / room).rglob("*.py") for name in re.findall(r"\bpoint\(\"([a-z_.]+)\"\)", path.read_text())]
        assert len(found) == len(set(found))
