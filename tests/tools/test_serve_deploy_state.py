"""What the traces of a serving process say about its deployment."""

from typing import Any

import pytest

from tools.serve.deploy_state import DeployState, Traces, what_became

STOPPED = {"outcome": "stopped", "kind": "stop"}
CASES: dict[str, tuple[dict[str, Any], DeployState, str]] = {
    "no process yet": ({}, DeployState.STARTING, ""),
    "no process for too long": ({"waited_s": 121.0}, DeployState.FAILED, "never begun"),
    "stopped before it began": ({"stop_by": "ann"}, DeployState.STOPPED, "Stopped by ann"),
    "its folder is gone": ({"ran": True}, DeployState.LOST, "folder is gone"),
    "loading": ({"lock": "held", "serving": {"state": "loading"}}, DeployState.STARTING, ""),
    "answering": ({"lock": "held", "serving": {"state": "running"}}, DeployState.RUNNING, ""),
    "asked to stop and still there": ({"lock": "held", "serving": {"state": "running"}, "stop_by": "ann"}, DeployState.RUNNING, ""),
    "stopped by a person": ({"lock": "free", "exit": STOPPED, "stop_by": "ann"}, DeployState.STOPPED, "Stopped by ann"),
    "stopped by the system": ({"lock": "free", "exit": STOPPED, "stop_by": "system"}, DeployState.STOPPED, "time was over"),
    "its own limit": ({"lock": "free", "exit": {"outcome": "stopped", "kind": "limit"}}, DeployState.STOPPED, "time was over"),
    "a signal from nowhere": ({"lock": "free", "exit": STOPPED}, DeployState.STOPPED, "from outside"),
    "failed": ({"lock": "free", "exit": {"outcome": "failed", "kind": "oom", "message": "No memory."}}, DeployState.FAILED, "No memory."),
    "killed": ({"lock": "free"}, DeployState.FAILED, "ended from outside"),
    "killed while running": ({"lock": "free", "serving": {"state": "running"}}, DeployState.FAILED, "redeploy"),
    "ended by force after a stop": ({"lock": "free", "stop_by": "ann"}, DeployState.STOPPED, "by force"),
    "gone with the machine": ({"lock": "free", "same_boot": False}, DeployState.LOST, "machine was restarted"),
}


@pytest.mark.parametrize(("traces", "state", "words"), CASES.values(), ids=CASES)
def test_traces_prove_a_state(traces: dict[str, Any], state: DeployState, words: str) -> None:
    became = what_became(Traces(**traces))
    assert became.state is state and words in became.reason
    assert became.reason or state in {DeployState.STARTING, DeployState.RUNNING}
