"""The record as people read it: who may see what, a call's whole story, its proof, and the verifier run as a program."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, select

from agent.door import Door
from agent.verifier import verifier
from policies.audit import read
from policies.audit.keys import key_id
from policies.people import Caller
from policies.tables import audit, audit_checkpoints, audit_witnessed
from policies.tool import ToolFailed

SEES_ALL = frozenset({"owner", "auditor"})
FILTERS = ("run", "person", "tool", "decision", "kind")
PAGE = 50


@dataclass(frozen=True, slots=True)
class Verified:
    """What the verifier said, and its exit status: 0 intact, 1 tampered, 2 gaps or missing, 3 cannot read."""

    status: int
    text: str


class Records:
    """Reads the audit log of one home for one person at a time."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._one_at_a_time = asyncio.Lock()

    def sees_all(self, caller: Caller) -> bool:
        """Whether the caller may read everybody's records: owners and auditors; others read their own."""
        return self._door.people.role(caller.person) in SEES_ALL

    def search(self, caller: Caller, asked: Mapping[str, str], before: int | None = None, limit: int = PAGE) -> list[dict[str, Any]]:
        """Records that match `asked` (keys of FILTERS), newest first, below the number `before`."""
        wanted = {name: text for name in FILTERS if (text := asked.get(name, "").strip()[:80])}
        if not self.sees_all(caller):
            if wanted.get("person", caller.person) != caller.person:
                return []
            wanted["person"] = caller.person
        return self._read(lambda conn: read.search(conn, **wanted, before=before, limit=limit))

    def story(self, identity: str, caller: Caller) -> list[dict[str, Any]]:
        """Every record of a call, an approval, a run or a trace, oldest first; empty when there is none that the caller may see."""
        found = self._read(lambda conn: read.story(conn, identity[:80]))
        return found if self.sees_all(caller) or any(_by(record) == caller.person for record in found) else []

    def record(self, seq: int, caller: Caller) -> dict[str, Any] | None:
        """The record with that number, if the caller may see it: their own, or one of a story of theirs."""
        found = self._read(lambda conn: read.search(conn, before=seq + 1, limit=1)) if 0 < seq < 2**62 else []
        if not found or found[0]["seq"] != seq:
            return None
        if self.sees_all(caller) or _by(found[0]) == caller.person:
            return found[0]
        call = found[0]["tool"]["call_id"]
        return found[0] if call and self.story(call, caller) else None

    def prove(self, seq: int, caller: Caller) -> dict[str, Any]:
        """The inclusion proof of a record against a signed checkpoint; one is signed for it where the last does not cover it yet.

        Raises ToolFailed when the caller may see no such record, or the log is signed no more.
        """
        if self.record(seq, caller) is None:
            because = f"there is no record {seq} that you may see."
            raise ToolFailed("There is no proof", because, "`python -m ui audit show` lists the records.")
        last = self.checkpoint()
        if last is None or last["size"] < seq:
            self._door.book.write(lambda conn: self._door.gateway.log.seal(conn, datetime.now(UTC)))
        try:
            return dict(self._read(lambda conn: read.prove(conn, seq)))
        except (LookupError, ValueError) as error:
            because = self._door.gateway.log.alarm or str(error)
            raise ToolFailed("There is no proof", because, "Run `python -m ui audit verify`.") from error

    async def verify(self, caller: Caller, options: Sequence[str] = ()) -> Verified:
        """Run the stand-alone verifier on the book, as a program, and note the outcome in the record."""
        async with self._one_at_a_time:
            child = await asyncio.create_subprocess_exec(
                *verifier(self._door.settings.root, self._door.settings.home, options),
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
            )
            try:
                out, _ = await child.communicate()
            finally:
                if child.returncode is None:
                    child.kill()
        done = Verified(child.returncode if child.returncode is not None else 3, out.decode("utf-8", "replace").strip())
        await self.note_verified(caller, done.status)
        return done

    async def note_verified(self, caller: Caller, status: int) -> None:
        """Write into the record that it was verified, and with which exit status."""
        await self._door.gateway.note("admin", "verified", caller, {"status": status})

    def checkpoint(self) -> dict[str, Any] | None:
        """The last signed checkpoint: size, root, key_id, at, and the signed note as text."""
        row = self._read(lambda conn: conn.execute(
            select(audit_checkpoints).order_by(audit_checkpoints.c.size.desc()).limit(1)).one_or_none())
        if row is None:
            return None
        return {"size": row.size, "root": row.root, "key_id": row.key_id, "at": row.at, "note": bytes(row.note).decode("utf-8", "replace")}

    def state(self) -> dict[str, Any]:
        """How far the log is signed and witnessed, for `doctor` and the pages."""
        last = self.checkpoint()
        total = self._read(lambda conn: conn.execute(select(func.max(audit.c.seq))).scalar()) or 0
        age = None if last is None else max(0, int((datetime.now(UTC) - datetime.fromisoformat(last["at"])).total_seconds()))
        log = self._door.gateway.log
        key = key_id(log.origin, log.keys.current.public) if log.keys is not None else None
        return {
            "records": total, "signed": 0 if last is None else last["size"], "checkpoint_at": None if last is None else last["at"],
            "checkpoint_age_s": age, "key_id": key, "witnesses": self.witnesses(),
        }

    def witnesses(self) -> list[dict[str, Any]]:
        """What each outside witness holds: the largest size it took, when, and its last error since."""
        def read_them(conn: Connection) -> list[dict[str, Any]]:
            seen: dict[str, dict[str, Any]] = {}
            for row in conn.execute(select(audit_witnessed).order_by(audit_witnessed.c.id)):
                one = seen.setdefault(row.witness, {"witness": row.witness, "size": 0, "at": None, "error": ""})
                one.update({"error": row.error} if row.error else {"size": row.size, "at": row.at, "error": ""})
            return list(seen.values())

        return self._read(read_them)

    def _read(self, question: Callable[[Connection], Any]) -> Any:
        return self._door.book.read(question)


def _by(record: Mapping[str, Any]) -> str:
    return str(record["actor"]["sub"])
