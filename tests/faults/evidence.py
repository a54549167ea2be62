"""What a home really holds, read beside the program: processes, folders, the book's own file; and whether the promises were kept."""

import json
import os
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from policies.audit.verify import verify

CAP_MICROS = 2_000_000_000
NOT_KEPT = ("the book", "The book", "This key was already used")
"""Words of the answers that say themselves that nothing was written for the call."""


def processes(folder: Path) -> dict[int, str]:
    """The living processes that work in a folder or below it: pid and command."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def truth(folder: Path) -> frozenset[str]:
    """The states that a run may be shown in, by its processes and its result alone."""
    if processes(folder):
        return frozenset({"queued", "running"})
    with suppress(OSError, ValueError):
        said = json.loads((folder / "result.json").read_text())["outcome"]
        return frozenset({"finished"} if said == "finished" else {said, "failed"})
    # Nothing lives and nothing was said: whatever it is, it does not run.
    return frozenset({"queued", "failed", "cancelled", "interrupted", "lost"})


def rows(home: Path, query: str) -> list[Any]:
    """Rows of the book's own file."""
    with closing(sqlite3.connect(f"file:{home / 'book.sqlite'}?mode=ro", uri=True)) as book:
        book.row_factory = sqlite3.Row
        return book.execute(query).fetchall()


def broken(home: Path, said: list[dict[str, Any]], *, settled: bool = True) -> list[str]:
    """The promises that a home does not keep, by name; `settled` when every call has had its chance to end."""
    return [*_unapproved(home), *_twice(home), *_money(home, settled), *_record(home, settled), *_forgotten(home, said), *_untrue(home)]


def _unapproved(home: Path) -> list[str]:
    """I1: no effect without a yes that was used for it."""
    used = Counter(row["tool"] for row in rows(home, "select tool from approvals where state = 'consumed'"))
    mine = {row["call_id"] for row in rows(home, "select call_id from approvals where state = 'consumed'")}
    found = [f"I1: run {row['id']} has no used yes" for row in rows(home, "select id, call_id from runs") if row["call_id"] not in mine]
    found += [f"I1: {path.name} was paid without a yes" for path in (home / "receipts").iterdir() if path.name not in mine]
    locks = len(list((home / "runs").glob("*/attempt-*.lock")))
    if locks > used["start_finetune"] + used["resume_run"]:
        found.append(f"I1: {locks} attempts, {dict(used)} used approvals")
    return found


def _twice(home: Path) -> list[str]:
    """I2: an approved attempt has one engine, ever; the machine has one at a time."""
    found = []
    for path in (home / "runs").glob("*/starts.jsonl"):
        starts = Counter(json.loads(line)["attempt"] for line in path.read_text().splitlines())
        found += [f"I2: attempt {attempt} of {path.parent.name} began {count} times" for attempt, count in starts.items() if count > 1]
    alive = [command for command in processes(home / "runs").values() if "faults/engine.py" in command]
    calls = Counter(row["call_id"] for row in rows(home, "select call_id from runs"))
    found += [f"I2: {call} made {count} runs" for call, count in calls.items() if count > 1]
    return found if len(alive) <= 1 else [*found, f"I2: {len(alive)} engines at once"]


def _money(home: Path, settled: bool) -> list[str]:
    """I3: the ledger stays below its cap; a call that never began holds nothing once its lease is over."""
    sums = rows(home, "select call_id, sum(case kind when 'reserve' then micros when 'release' then -micros else 0 end) as held, "
                      "sum(case kind when 'settle' then micros else 0 end) as spent from ledger group by call_id")
    found = ["I3: above the cap"] if sum(row["held"] + row["spent"] for row in sums) > CAP_MICROS else []
    paid = {path.name for path in (home / "receipts").iterdir()}
    return found + [f"I3: {row['call_id']} holds {row['held']} and never began" for row in sums
                    if settled and row["held"] and row["call_id"] not in paid]


def _record(home: Path, settled: bool) -> list[str]:
    """I4: the record verifies, and each intent has one outcome."""
    code, words = verify(home / "book.sqlite", strict=settled)[:2]
    found = [] if code == 0 else [f"I4: the record does not verify: {words}"]
    every = [json.loads(row["record"]) for row in rows(home, "select record from audit order by seq")]
    ended = Counter(one["refs"]["intent"] for one in every if one["kind"] == "outcome")
    begun = [one["seq"] for one in every if one["kind"] == "intent"]
    found += [f"I4: intent {seq} has {ended[seq]} outcomes" for seq in begun if ended[seq] > 1 or (settled and not ended[seq])]
    return found


def _forgotten(home: Path, said: list[dict[str, Any]]) -> list[str]:
    """I5: what was answered is still so."""
    calls = {row["call_id"]: row for row in rows(home, "select call_id, status from calls")}
    cards = {row["id"]: row["state"] for row in rows(home, "select id, state from approvals")}
    runs = {row["id"] for row in rows(home, "select id from runs")}
    found = []
    for one in said:
        call = calls.get(one.get("call", ""))
        if "call" in one and call is None and not any(word in one["reason"] for word in NOT_KEPT):
            found.append(f"I5: the call {one} is forgotten")
        if one.get("status") == "done" and (call is None or call["status"] != "done"):
            found.append(f"I5: {one} is {call and call['status']}")
        if one.get("run") and one["run"] not in runs:
            found.append(f"I5: the run {one['run']} is forgotten")
        if "decided" in one and cards.get(one["decided"]) not in {one["status"], "consumed"}:
            found.append(f"I5: {one} is {cards.get(one['decided'])}")
    return found


def _untrue(home: Path) -> list[str]:
    """I6: no run is shown as something that it is not."""
    return [f"I6: {row['id']} is shown as {row['state']}" for row in rows(home, "select id, state from runs")
            if row["state"] not in truth(home / "runs" / row["id"])]
