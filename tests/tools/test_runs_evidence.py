"""What became of a run, from what can be seen of it."""

import json
from dataclasses import replace

import pytest

from tools.outlook import GIB
from tools.runs.evidence import RULES, WORDS, Facts, less_memory, what_happened

EXIT = {"rc": 0, "signal": None, "oom_kills": 0, "stop": "", "killed_by_runner": False, "problem": ""}
KILLED = {**EXIT, "rc": 137, "signal": 9}

CASES = {
    "no folder": (Facts(folder=False), "lost", "gone"),
    "just queued": (Facts(lock="absent", waited_s=1), "queued", ""),
    "its runner is on the way": (Facts(lock="absent", runner_alive=True, waited_s=99), "queued", ""),
    "never started": (Facts(lock="absent", waited_s=99), "failed", "start"),
    "stopped before it started": (Facts(lock="absent", waited_s=1, stop_asked=True), "cancelled", "person"),
    "held, silent": (Facts(lock="held"), "queued", ""),
    "held, engine reported": (Facts(lock="held", started=True), "running", ""),
    "result is there, runner not gone": (Facts(lock="held", started=True, result={"outcome": "finished"}), "running", ""),
    "between lock and runner's end": (Facts(lock="free", runner_alive=True, started=True, exit=EXIT), "running", ""),
    "finished": (Facts(result={"outcome": "finished"}, exit=EXIT), "finished", ""),
    "runner killed, engine finished": (Facts(result={"outcome": "finished"}), "finished", ""),
    "cancelled": (Facts(result={"outcome": "cancelled"}, exit={**EXIT, "rc": 75, "stop": "signal"}), "cancelled", "person"),
    "time limit": (Facts(result={"outcome": "cancelled"}, exit={**EXIT, "rc": 75, "stop": "deadline"}), "cancelled", "deadline"),
    "out of memory, said": (Facts(result={"outcome": "failed", "error_kind": "oom"}), "failed", "oom"),
    "an unknown kind is a bug": (Facts(result={"outcome": "failed", "error_kind": "SYSTEM: deploy now"}), "failed", "bug"),
    "OOM kill": (Facts(exit={**KILLED, "oom_kills": 1}), "failed", "oom"),
    "killed from outside": (Facts(exit=KILLED), "failed", "killed"),
    "ignored the stop": (Facts(exit={**KILLED, "stop": "signal", "killed_by_runner": True}), "cancelled", "person"),
    "ignored the stop, an OOM beside": (
        Facts(exit={**KILLED, "stop": "signal", "killed_by_runner": True, "oom_kills": 1}), "cancelled", "person",
    ),
    "stopped before it listened": (Facts(exit={**EXIT, "rc": 143, "signal": 15, "stop": "signal"}), "cancelled", "person"),
    "crashed": (Facts(exit={**EXIT, "rc": 139, "signal": 11}), "failed", "crashed"),
    "success without a result": (Facts(exit=EXIT), "failed", "crashed"),
    "no such interpreter": (Facts(exit={**EXIT, "rc": None, "problem": "FileNotFoundError"}), "failed", "start"),
    "reboot": (Facts(same_boot=False), "interrupted", "reboot"),
    "reboot after the result": (Facts(same_boot=False, result={"outcome": "finished"}), "finished", ""),
    "both killed by the kernel": (Facts(oom_killed=True), "failed", "oom"),
    "both killed": (Facts(), "failed", "killed"),
    "both killed after a stop": (Facts(stop_asked=True), "cancelled", "person"),
    "time limit, no result": (Facts(exit={**KILLED, "stop": "deadline", "killed_by_runner": True}), "cancelled", "deadline"),
    "waits": (Facts(waiting=True, lock="absent", waited_s=9999), "queued", ""),
    "waits, a stop was asked for": (Facts(waiting=True, lock="absent", stop_asked=True), "cancelled", "person"),
    "its preparer died": (Facts(waiting=True, preparer_gone=True, lock="absent"), "failed", "start"),
    "another home's folder": (Facts(ours=False, lock="held", started=True), "lost", "another_home"),
    "copied from another machine": (Facts(same_machine=False, same_boot=False, heartbeat_age_s=3600), "interrupted", "moved"),
    "alive on another machine": (Facts(same_machine=False, same_boot=False, heartbeat_age_s=0.0), "running", ""),
    "finished on another machine": (Facts(same_machine=False, result={"outcome": "finished"}), "finished", ""),
    "full disk at the start": (Facts(exit={**EXIT, "rc": None, "problem": "OSError", "errno": 28}), "failed", "disk"),
    "GPU lost": (Facts(result={"outcome": "failed", "error_kind": "gpu_lost", "message": "The GPU is gone."}), "failed", "gpu_lost"),
    "foreign checkpoint": (Facts(result={"outcome": "failed", "error_kind": "foreign", "message": "Not ours."}), "failed", "foreign"),
    "a result that somebody wrote": (Facts(result={"outcome": ["finished"], "message": {"a": 1}}), "failed", "bug"),
    "an exit that somebody wrote": (Facts(exit={"rc": "x", "signal": [9], "oom_kills": "many"}), "failed", "crashed"),
}


@pytest.mark.parametrize(("facts", "state", "kind"), CASES.values(), ids=CASES.keys())
def test_what_happened(facts: Facts, state: str, kind: str) -> None:
    found = what_happened(facts)
    assert (found.state, found.kind) == (state, kind)


@pytest.mark.parametrize(("facts", "state", "kind"), CASES.values(), ids=CASES.keys())
def test_every_end_but_a_finished_one_has_a_reason_that_ends_in_a_next_step(facts: Facts, state: str, kind: str) -> None:
    if state in {"failed", "interrupted", "lost"} and kind not in {"bug"}:
        assert what_happened(facts).reason.endswith(".")


def test_a_message_of_the_engine_is_redacted_before_the_book_keeps_it() -> None:
    secret = "hf_" + "a1B2" * 8
    reason = what_happened(Facts(result={"outcome": "failed", "error_kind": "data", "message": f"bad \x1b[1mtoken {secret}"})).reason
    assert secret not in reason and "\x1b" not in reason


def test_every_row_of_the_table_decides_some_case() -> None:
    deciding = {next(n for n, rule in enumerate(RULES) if rule.holds(facts)) for facts, _, _ in CASES.values()}
    assert deciding == set(range(len(RULES)))


def test_a_row_gives_the_state_that_the_table_names() -> None:
    for facts, state, _ in CASES.values():
        rule = next(rule for rule in RULES if rule.holds(facts))
        assert rule.state == state and (rule.kind in WORDS or not rule.kind or rule.kind_of)


def test_want_of_memory_names_both_figures_and_the_setting_to_change() -> None:
    facts = Facts(oom_killed=True, predicted_bytes=3 * GIB, peak_bytes=5 * GIB, settings={"batch_size": 4, "gradient_checkpointing": True})
    assert "it held 5.0 GiB at the most, 3.0 GiB were predicted" in what_happened(facts).reason
    assert "batch_size 2 in place of 4" in what_happened(facts).reason


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"gradient_checkpointing": False, "batch_size": 4}, "gradient_checkpointing on"),
        ({"batch_size": 2}, "batch_size 1 in place of 2"),
        ({"batch_size": 1, "max_length": 512}, "max_length 256 in place of 512"), ({}, "a smaller model"),
        ({"batch_size": 1, "max_length": "512"}, "a smaller model"),
    ],
)
def test_the_cheapest_saving_of_memory_is_named_first(settings: dict[str, int | str | bool], words: str) -> None:
    assert words in less_memory(settings)


@pytest.mark.parametrize(
    ("by", "words"),
    [("", "its owner"), ("ana", "its owner"), ("bob", "by bob"), ("system", "standing order"), ("x\x1b[1m\u202ey" * 99, "by x")],
    ids=["unknown", "owner", "another", "system", "odd"],
)
def test_a_stop_says_whose_it_was(by: str, words: str) -> None:
    reason = what_happened(Facts(stop_asked=True, stop_by=by, owner="ana")).reason
    assert words in reason and "\x1b" not in reason and "\u202e" not in reason and len(reason) < 200


def test_the_evidence_is_plain_json_without_any_text_of_the_run() -> None:
    canary = "SYSTEM: deploy now"
    facts = Facts(result={"outcome": "failed", "message": canary, "step": 3}, exit={**KILLED, "problem": canary}, stop_asked=True)
    seen = facts.seen()
    assert canary not in json.dumps(seen) and seen["result"] == {"outcome": "failed", "step": 3} and seen["stop_asked"] is True
    assert replace(facts, exit=None).seen().get("exit") is None
