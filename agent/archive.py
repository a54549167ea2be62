"""What is done to the record beside reading it: exports, checks, erasure, the signing key, and what outside witnesses are given."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from agent.door import Door
from policies.audit.export import NoExport, export
from policies.audit.forms import Form
from policies.audit.fsck import fsck
from policies.audit.keys import KeyTrouble, key_id, vkey
from policies.audit.originals import erase
from policies.audit.witnesses import Witnesses
from policies.people import Caller
from policies.tool import ToolFailed


class Archive:
    """The keeper's work on one home's audit log."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def export(self, folder: str, kind: str, since: str, caller: Caller) -> dict[str, Any]:
        """Write the records out, signed; for owners and auditors. `since`: a number, a date, `last`, or nothing. Raises ToolFailed."""
        what = "Nothing was exported"
        self._must_be(what, caller, "owner", "auditor")
        form = next((each for each in get_args(Form) if each == kind), None)
        if form is None:
            raise ToolFailed(what, f"{kind[:40]!r} is no format.", f"Choose one of {', '.join(get_args(Form))}.")
        book, log = self._door.book, self._door.gateway.log
        try:
            done = await asyncio.to_thread(export, book, log, Path(folder), form, since.strip() or None, caller, datetime.now(UTC))
        except NoExport as error:
            raise ToolFailed(what, str(error), "`python -m ui audit export --help` says what can be chosen.") from error
        return {"file": str(done.path), "digest": str(done.digest), "first": done.first, "last": done.last, "sha256": done.sha256}

    async def fsck(self, caller: Caller) -> list[dict[str, Any]]:
        """Everything in which the record and the rest of the book disagree; for owners and auditors. Raises ToolFailed."""
        self._must_be("Nothing was checked", caller, "owner", "auditor")
        return [asdict(each) for each in await asyncio.to_thread(self._door.book.read, fsck)]

    async def erase(self, seq: int, caller: Caller) -> dict[str, Any]:
        """Erase the original arguments behind a record, for good; for owners. The record itself stays. Raises ToolFailed."""
        self._must_be("Nothing was erased", caller, "owner")
        erased = await self._door.book.awrite(lambda conn: erase(conn, seq))
        if erased:
            await self._door.gateway.note("admin", "original_erased", caller, {"seq": seq})
        return {"seq": seq, "erased": erased}

    async def rotate(self, caller: Caller) -> dict[str, Any]:
        """Replace the signing key by a new one, in a record that both sign; for owners. Raises ToolFailed."""
        self._must_be("The key was not replaced", caller, "owner")
        log = self._door.gateway.log
        try:
            await self._door.book.awrite(lambda conn: log.rotate(conn, caller))
        except KeyTrouble as error:
            raise ToolFailed("The key was not replaced", str(error), "The old key goes on signing.") from error
        await self._door.book.awrite(log.settle)
        return self.key()

    def key(self) -> dict[str, Any]:
        """The key that signs: its id, its public half as one line, and the file where that lies. Raises ToolFailed without one."""
        log = self._door.gateway.log
        if log.keys is None:
            raise ToolFailed("There is no key", "this log is not signed.", "Start Luthier again.")
        public = log.keys.current.public
        name, file = key_id(log.origin, public), str(log.keys.folder / "audit.pub")
        return {"key_id": name, "public_key": vkey(log.origin, public), "public_key_file": file}

    async def tell_witnesses(self) -> None:
        """Give the last checkpoint to every outside witness that does not have it; what came of it stands in the book."""
        wishes = self._door.gateway.policy.limits.audit.witnesses
        if wishes:
            await asyncio.to_thread(Witnesses(wishes, self._door.secrets.get).publish, self._door.book, datetime.now(UTC))

    def _must_be(self, what: str, caller: Caller, *roles: str) -> None:
        if self._door.people.role(caller.person) not in roles:
            raise ToolFailed(what, f"{caller.person} is no {' or '.join(roles)} here.", "Ask an owner.", kind="refused")
