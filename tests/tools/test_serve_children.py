"""Engine children that do one thing and end."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.tool import ToolFailed
from tests.tools.fakes_runs import ROOT, RunWorld, wait_until
from tools.engine.spec import ExportSpec
from tools.places import Places
from tools.serve.children import child_environment


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RunWorld]:
    world = RunWorld(tmp_path)
    yield world
    world.close()


def export(world: RunWorld, model: str, timeout_s: float = 20) -> None:
    out = world.places.home / "out"
    spec = ExportSpec(out=str(out), model_id=model, model_dir="m")
    world.engine.run("export", spec, world.places.home / "work", 1, timeout_s, lambda _: None)


def test_only_listed_variables_reach_a_child() -> None:
    secret = {"OPENAI_API_KEY": "k", "AZURE_CLIENT_SECRET": "s", "LUTHIER_HOME": "h", "PYTHONPATH": "x", "LD_PRELOAD": "l"}
    parent = {"PATH": "p", "LANG": "C", **secret}
    told = child_environment(Places(ROOT, Path("/nowhere")), parent, threads=2)
    assert not {"OPENAI_API_KEY", "AZURE_CLIENT_SECRET", "LUTHIER_HOME", "LD_PRELOAD"} & set(told)
    assert (told["PATH"], told["PYTHONPATH"], told["OMP_NUM_THREADS"], told["PYTHONSAFEPATH"]) == ("p", str(ROOT), "2", "1")


def test_a_child_that_succeeds_leaves_its_files_spec_and_log(world: RunWorld) -> None:
    export(world, "bundled")
    assert (world.places.home / "out" / "genai_config.json").exists()
    assert json.loads((world.places.home / "work" / "export.json").read_text())["model_id"] == "bundled"
    assert (world.places.home / "work" / "log.txt").stat().st_mode & 0o777 == 0o600


def test_a_child_that_fails_gives_the_engines_reason_and_not_its_traceback(world: RunWorld) -> None:
    with pytest.raises(ToolFailed, match="do not answer") as failed:
        export(world, "broken")
    assert "secret stuff" not in str(failed.value)


def test_a_child_that_takes_too_long_is_ended(world: RunWorld) -> None:
    with pytest.raises(ToolFailed, match="did not end") as failed:
        export(world, "slow", timeout_s=0.3)
    assert failed.value.kind == "timeout"


def test_closing_ends_what_runs(world: RunWorld) -> None:
    failures: list[str] = []

    def wait() -> None:
        try:
            export(world, "slow", timeout_s=60)
        except ToolFailed as failed:
            failures.append(failed.kind)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: bool(world.engine._running), "the child")
    (child,) = world.engine._running
    world.engine.close()
    thread.join(20)
    assert failures == ["engine"]
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)
    with pytest.raises(ToolFailed, match="closing"):
        export(world, "bundled")
