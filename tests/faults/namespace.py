"""Programs of the fault tests in a namespace of their own, where a test may mount a small disk or a stand-in of the kernel's folders."""

import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.tools.fakes_runs import ROOT

PLAY = """
import asyncio, json, sys
from pathlib import Path
from tests.faults.plays import play
name, home, said, facts = sys.argv[1:]
asyncio.run(play(name, Path(home), Path(said), json.loads(facts)))
"""


@functools.cache
def _why_not() -> str:
    if shutil.which("unshare") is None:
        return "there is no unshare on this machine"
    tried = subprocess.run(["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True, text=True)
    return "" if tried.returncode == 0 else "this machine lets nobody mount in a namespace"


def inside(script: str, *words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a shell script in namespaces of its own, in the project's folder; skips the test, with the reason, where that cannot be."""
    if why := _why_not():
        pytest.skip(why)
    command = ["unshare", "-rm", "sh", "-ec", script, *words]
    return subprocess.run(command, cwd=ROOT, env=None if env is None else dict(env), capture_output=True, text=True, timeout=120)


def played(before: str, name: str, home: Path, said: Path, **facts: object) -> list[dict[str, Any]]:
    """Play something after the mounts of `before`, in which `$1` is the home: what was said. It must end well."""
    words = [name, str(home), str(said), json.dumps(facts)]
    done = inside(f'{before}\nshift\nexec {sys.executable} -c "$0" "$@"', PLAY, str(home), *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in said.read_text().splitlines()]
