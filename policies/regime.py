"""Everything that works under one policy, and the exchange of it for another while the program runs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from policies.admission import Admission
from policies.approvals import Approvals
from policies.audit.log import AuditLog
from policies.book import Book
from policies.intents import Intents
from policies.outcome import Outcomes
from policies.people import Caller, find_person
from policies.policy import SHIPPED, Policy
from policies.verdict import ApprovalView


@dataclass(frozen=True, slots=True)
class Regime:
    """One policy, and what judges and writes under it."""

    policy: Policy
    intents: Intents
    admission: Admission

    @property
    def approvals(self) -> Approvals:
        """The state machine of approvals."""
        return self.intents.approvals

    @property
    def outcomes(self) -> Outcomes:
        """What writes the ends of calls."""
        return self.intents.outcomes


class Replaced(Exception):
    """Another policy came into force between a judgement and its intent: judge again."""


class Reign:
    """The regime in force; watches the policy's files and reads them anew on request."""

    def __init__(
        self, make: Callable[[Policy], Regime], policy: Policy, book: Book, log: AuditLog, clock: Callable[[], datetime],
        tell: Callable[[ApprovalView], None], folder: Path | None,
    ) -> None:
        self.now = make(policy)
        self.changed = ""
        """Hash of the files on disk while they are not the ones in force: nothing that needs a yes is done then."""
        self._make, self._book, self._log, self._clock, self._tell = make, book, log, clock, tell
        self._folder = folder if folder is not None else policy.source if policy.source != SHIPPED else None
        self._trouble = ""
        self._reloading = asyncio.Lock()
        book.write(lambda conn: self.now.intents.policy_loaded(conn, clock()))

    @property
    def alarm(self) -> str:
        """What everybody should know: an unsound or changed policy, a log that is no longer signed; empty while all is well."""
        return " ".join(filter(None, (self._trouble or self.now.policy.alarm, self._log.alarm)))

    def must_be(self, regime: Regime) -> None:
        """Inside a write: raises Replaced unless this regime is in force."""
        if regime is not self.now:
            raise Replaced

    async def look(self) -> None:
        """Notice files that are not those in force: an alarm, and every open approval is void."""
        regime = self.now
        found = await asyncio.to_thread(regime.policy.changed_on_disk)
        if found == self.changed or regime is not self.now:
            return
        self.changed, self._trouble = found, ""
        if not found:
            return
        self._trouble = (f"The policy in {regime.policy.source} was changed meanwhile; nothing that needs a yes is done until it is "
                         f"read anew (`python -m ui policy reload`) or Luthier starts again.")
        for view in await self._book.awrite(lambda conn: regime.intents.policy_changed(conn, found, self._clock())):
            self._tell(view)

    async def reload(self, caller: Caller) -> tuple[bool, str]:
        """Read the home's policy anew. One that is not valid leaves the old set in force, with an alarm. Only an owner, never a program."""
        found = self._book.read(lambda conn: find_person(conn, caller.person))
        if caller.via not in ("web", "cli") or found is None or not found.active or found.role != "owner":
            return False, "Only an owner may have the policy read anew, on the web or at the terminal."
        async with self._reloading:
            await self.look()
            policy = await asyncio.to_thread(Policy.load, self._folder)
            old = self.now
            if policy.alarm:
                await self._book.awrite(lambda conn: old.intents.policy_refused(conn, policy, caller))
                self._trouble = f"{policy.alarm} The policy that was in force before stays so."
                return False, self._trouble
            if policy.hash == old.policy.hash and not old.policy.alarm:
                return True, "The policy is the one in force; nothing has changed."
            return True, await self._swap(old, self._make(policy), caller)

    async def _swap(self, old: Regime, new: Regime, caller: Caller) -> str:
        def write(conn: Connection) -> list[ApprovalView]:
            # Inside the one writer: every intent is written wholly before or wholly after it, by the regime that judged.
            gone = new.intents.policy_loaded(conn, self._clock(), caller)
            self.now = new
            return gone

        try:
            gone = await self._book.awrite(write)
        except BaseException:
            self.now = old
            raise
        self.changed, self._trouble = "", ""
        for view in gone:
            self._tell(view)
        void = f" {len(gone)} waiting approvals are void." if gone else ""
        return f"The policy in {new.policy.source} is in force ({new.policy.hash[:12]}).{void}"
