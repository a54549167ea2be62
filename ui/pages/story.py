"""A record as a row, and the records of one call as its story: asked, judged, decided, done, paid. Pure."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from ui.terminal import line_of

Record = Mapping[str, Any]
TONES: Mapping[str, str] = {
    "allow": "good", "ask": "wait", "deny": "bad", "ok": "good", "error": "bad", "timeout": "bad", "unknown": "wait", "denied": "bad",
    "not_started": "wait",
}
DECIDING = frozenset({"granted", "denied", "withdrawn", "expired", "revoked", "superseded", "refused", "consumed", "not_started",
                      "approved", "break_glass"})


class Part(TypedDict):
    """One part of a story: rows of label and value, or the words that say why there are none."""

    name: str
    rows: list[tuple[str, str]]
    none: str


def at(utc: str) -> str:
    """A stored UTC time to the second, in the machine's own zone."""
    return datetime.fromisoformat(utc).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def row_of(record: Record) -> dict[str, Any]:
    """A record as one row of the page."""
    decision, outcome = record["policy"]["decision"] or "", record["result"]["status"] or ""
    return {
        "seq": record["seq"], "when": at(record["ts"]), "what": what_of(record), "tool": record["tool"]["name"] or "",
        "decision": decision, "decision_tone": TONES.get(decision, ""), "outcome": outcome.replace("_", " "),
        "outcome_tone": TONES.get(outcome, ""), "who": who_of(record), "run": record["refs"]["run"] or "",
    }


def what_of(record: Record) -> str:
    """Kind and event in words."""
    return f"{record['kind']}: {str(record['event']).replace('_', ' ')}"


def who_of(record: Record) -> str:
    """Who did it and through which face."""
    return f"{record['actor']['sub']} ({record['actor']['via']})"


def identity_of(record: Record) -> str:
    """What names a record's story: its call, else its approval, else its run; empty for one that stands alone."""
    return str(record["tool"]["call_id"] or record["approval"]["id"] or record["refs"]["run"] or "")


def story_of(records: Sequence[Record]) -> list[Part]:
    """The parts of a call's story; of something that is no call, the one part `Happened`."""
    if not any(record["tool"]["name"] for record in records):
        return [Part(name="Happened", rows=[row for record in records for row in _happened(record)], none="")]
    approvals = [record for record in records if record["kind"] == "approval"]
    return [
        Part(name="Asked", rows=_asked(records), none="No record holds the request."),
        Part(name="Judged", rows=_judged(records), none="No record holds a judgement."),
        Part(name="Decided", rows=_decided(approvals), none="Nobody had to decide: the rules allow it, or refuse it, by themselves."),
        Part(name="Done", rows=_done(records), none="Nothing was begun."),
        Part(name="Paid", rows=_paid(records), none="It costs nothing."),
    ]


def kept(record: Record) -> str:
    """A record as indented JSON."""
    return json.dumps(record, indent=2, ensure_ascii=False)


def _asked(records: Sequence[Record]) -> list[tuple[str, str]]:
    first = next((record for record in records if record["args"] is not None), records[0])
    tool = f"{first['tool']['name']} {first['tool']['version'] or ''}".strip()
    rows = [("By", who_of(first)), ("When", at(first["ts"])), ("Tool", tool)]
    if first["args"]:
        rows += [(f"· {name}", line_of(value)) for name, value in first["args"].items() if value not in (None, "")]
    if first["action_digest"]:
        rows.append(("Action digest", str(first["action_digest"])))
    return rows


def _judged(records: Sequence[Record]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for record in records:
        policy = record["policy"]
        if policy["decision"] is None:
            continue
        word = {"allow": "allowed", "ask": "a person must say yes", "deny": "refused"}[policy["decision"]]
        rows.append((f"No. {record['seq']}", f"{word}{_by_rules(policy['rules'])}"))
        rows += [("Error", str(error)) for error in policy["errors"]]
        if reason := record["detail"].get("reason"):
            rows.append(("Because", line_of(reason)))
    if effects := next((record["tool"]["effects"] for record in records if record["tool"]["effects"]), None):
        rows.append(("Effects", ", ".join(effects)))
    if policy_hash := next((record["policy"]["hash"] for record in records if record["policy"]["hash"]), None):
        rows.append(("Policy", str(policy_hash)))
    return rows


def _by_rules(rules: Sequence[str]) -> str:
    return f", by {', '.join(rules)}" if rules else ""


def _decided(approvals: Sequence[Record]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for record in approvals:
        if record["event"] == "requested":
            wanted = record["approval"]
            until = f", until {at(wanted['expiry'])}" if wanted["expiry"] else ""
            rows.append(("Asked for", f"{wanted['quorum'] or 1} yes{until} (approval {wanted['id']})"))
        elif record["event"] in DECIDING:
            said = record["detail"].get("reason") or record["detail"].get("why") or ""
            event = str(record["event"]).replace("_", " ").capitalize()
            rows.append((event, f"{who_of(record)}, {at(record['ts'])}{f': {said}' if said else ''}"))
    if approvers := next((record["approval"]["approvers"] for record in reversed(approvals) if record["approval"]["approvers"]), None):
        rows.append(("Approved by", ", ".join(approvers)))
    return rows


def _done(records: Sequence[Record]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for record in records:
        result = record["result"]
        if record["kind"] == "intent":
            rows.append(("Begun", at(record["ts"])))
        elif record["kind"] == "outcome":
            rows.append(("Ended", f"{at(record['ts'])}, {str(result['status']).replace('_', ' ')}"))
            if result["error_class"]:
                rows.append(("Error", str(result["error_class"])))
            if result["hash"]:
                rows.append(("Result", f"{result['size']} bytes, SHA-256 {result['hash']}"))
    for name, label in (("run", "Run"), ("provider", "Provider")):
        if found := next((record["refs"][name] for record in records if record["refs"][name]), None):
            rows.append((label, str(found)))
    return rows


def _paid(records: Sequence[Record]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, label in (("estimate", "Likely"), ("reserved", "Reserved"), ("actual", "Paid")):
        found = [record["cost"] for record in records if record["cost"][name] is not None]
        if found and int(found[-1][name]):
            rows.append((label, f"{dollars(int(found[-1][name]))} {found[-1]['currency']}"))
    if rows and (source := next((record["cost"]["price_source"] for record in records if record["cost"]["price_source"]), None)):
        rows.append(("Price", str(source)))
    return rows


def _happened(record: Record) -> list[tuple[str, str]]:
    rows = [("What", what_of(record)), ("By", who_of(record)), ("When", at(record["ts"]))]
    rows += [(str(name).replace("_", " "), line_of(value)) for name, value in record["detail"].items()]
    if record["policy"]["hash"]:
        rows.append(("policy", str(record["policy"]["hash"])))
    return rows


def dollars(micros: int) -> str:
    """Micro-units as a decimal text, to the cent where that is exact, else to the micro-unit."""
    whole, rest = divmod(abs(micros), 1_000_000)
    text = f"{whole}.{rest:06d}"
    text = text[:-4] if text.endswith("0000") else text.rstrip("0")
    return f"-{text}" if micros < 0 else text
