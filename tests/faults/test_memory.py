"""Killed for want of memory: the run says so, with figures and what to change, and is not tried again by itself."""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.namespace import PLAY, played
from tests.faults.proof import proves
from tests.faults.town import Town
from tests.tools.fakes_runs import ROOT

SCOPE = ("systemd-run", "--user", "--scope", "--quiet", "-p", "MemoryMax=300M", "-p", "MemorySwapMax=0")


def of(said: list[dict[str, object]], key: str) -> object:
    """The last thing said under a key."""
    return next(one[key] for one in reversed(said) if key in one)


@proves("F19", "the kernel kills the local trainer for want of memory",
        "failed(oom) with peak and prediction and the setting to change; nothing is tried again by itself")
def test_a_kill_that_the_kernel_counts_is_an_end_for_want_of_memory(town: Town, tmp_path: Path) -> None:
    said = played("mount -t tmpfs tmpfs /sys/fs/cgroup", "eaten", town.home, tmp_path / "said.jsonl", judged=True)
    assert (of(said, "state"), of(said, "kind"), of(said, "attempt")) == ("failed", "oom", 1)
    words = str(of(said, "words"))
    assert "ran out of memory" in words and "it held" in words and "were predicted" in words and "start again with" in words
    assert of(said, "broken") == []


@functools.cache
def _why_no_scope() -> str:
    if shutil.which("systemd-run") is None:
        return "there is no systemd-run on this machine"
    tried = subprocess.run([*SCOPE, "true"], capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"no group with a memory limit can be made here: {tried.stderr.strip()[:120]}"


def test_a_real_group_with_a_memory_limit_kills_the_engine_and_the_run_says_so(town: Town, tmp_path: Path) -> None:
    if why := _why_no_scope():
        pytest.skip(why)
    said = tmp_path / "said.jsonl"
    command = [*SCOPE, sys.executable, "-c", PLAY, "train", str(town.home), str(said), '{"mode": "hungry"}']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert '"kind": "oom"' in said.read_text()
