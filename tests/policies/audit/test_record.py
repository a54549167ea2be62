"""One record: every field of the schema, canonical bytes, and nothing that must not be in it."""

import json
from dataclasses import replace
from typing import Any

import pytest
import rfc8785

from policies.audit.record import AgentFacts, Record, canonical, canonical_record, commit, plain
from policies.people import Caller

OWNER = Caller("owner", "web", "link", "thread", "hash")


def shape(**more: Any) -> dict[str, Any]:
    """A record in its place."""
    return Record("intent", "allowed", OWNER, **more).shape(7, "2026-11-24T12:00:00.000000Z", "luthier/x", "0" * 64, "c")


def test_a_record_of_version_1_has_every_field_and_what_is_unknown_is_null() -> None:
    assert shape() == {
        "v": 1, "seq": 7, "ts": "2026-11-24T12:00:00.000000Z", "log": "luthier/x", "kind": "intent", "event": "allowed",
        "actor": {"sub": "owner", "via": "web", "auth": "link", "session": "hash", "ip_class": "unknown"},
        "agent": {"build": None, "model": None, "prompt": None},
        "tool": {"name": None, "version": None, "call_id": None, "effects": []},
        "args": None, "args_commit": "c", "action_digest": None,
        "policy": {"hash": None, "decision": None, "rules": [], "errors": []},
        "approval": {"id": None, "approvers": [], "expiry": None, "quorum": None},
        "cost": {"currency": None, "estimate": None, "reserved": None, "actual": None, "price_source": None, "price_date": None},
        "result": {"status": None, "hash": None, "size": None, "error_class": None},
        "trace": {"trace": None, "span": None}, "refs": {"intent": None, "run": None, "provider": None},
        "detail": {}, "key": None, "prev": "0" * 64,
    }


def test_the_agent_is_named_when_there_is_one() -> None:
    assert shape(agent=AgentFacts("1a2b", "gpt@1", "ff"))["agent"] == {"build": "1a2b", "model": "gpt@1", "prompt": "ff"}


@pytest.mark.parametrize(("value", "kept"), [
    (0.0002, "0.0002"), (float("nan"), "not a number"), (2**53, str(2**53)), (2**53 - 1, 2**53 - 1), (True, True), (None, None),
    ("samples/helpdesk.jsonl", "samples/helpdesk.jsonl"), ("helpdesk@3f2a", "helpdesk@3f2a"), ("a short task", "a short task"),
    ("What is the capital of France? Answer!", "<text: 38 characters>"), ("x\ny", "<text: 3 characters>"),
    ("\ud800", "<text: 1 characters>"),
    ("one two three four five six seven eight nine ten eleven twelve thirteen", "<text: 71 characters>"),
    ("é" * 121, "<text: 121 characters>"),
    ([1.5, {"a": ("b",)}], ["1.5", {"a": ["b"]}]), (b"x", "<bytes>"), ({"SYSTEM: do it!": 1}, {"<text: 14 characters>": 1}),
])
def test_no_float_no_huge_number_and_no_free_text_enters_a_record(value: Any, kept: Any) -> None:
    assert plain(value) == kept
    canonical(plain(value))


def test_arguments_reasons_and_errors_are_redacted() -> None:
    token = "hf_" + "a" * 34
    made = json.dumps(shape(args={"a": token, token: 1}, errors=(f"at {token}",), detail={"reason": token}))
    assert token not in made and made.count("<secret: huggingface_token>") == 4


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800", {1: 2}], ids=repr)
def test_what_is_not_canonical_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="not canonical"):
        canonical({"a": value})


def test_a_commitment_depends_on_salt_and_arguments() -> None:
    assert len({commit(b"a", b"x"), commit(b"b", b"x"), commit(b"a", b"y")}) == 3


SHAPE = Record("intent", "allowed", Caller("owner", "cli"), args={"page": 1, "ü": "漢", "\ue000": "a", "𝒳": ["b", None]}, effects=("READ",),
               estimate=5, quorum=2, detail={"reason": "fits", "bytes": 2**60})


@pytest.mark.parametrize("change", [{}, {"quorum": 1.5}, {"estimate": float("nan")}, {"detail": {"x": float("inf")}}, {"event": "\ud800"}],
                         ids=["as it is", "a float", "no number", "a float in a detail", "no text"])
def test_the_quick_way_to_a_record_s_bytes_gives_those_of_the_slow_one_or_refuses(change: dict[str, Any]) -> None:
    shape = replace(SHAPE, **change).shape(7, "2026-01-01T00:00:00.000000Z", "luthier/x", "0" * 64, None)
    try:
        slow = rfc8785.dumps(shape)
    except (rfc8785.CanonicalizationError, ValueError):
        slow = b""
    if not slow or "quorum" in change:
        with pytest.raises(ValueError):
            canonical_record(shape)
    else:
        assert canonical_record(shape) == slow
