"""How a call gets as far as a verdict: screened, parsed, proposed and judged, without any effect."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

from sqlalchemy import Row

from policies import outcome as ends
from policies.arguments import Malformed, normal, parse, reparse, screen
from policies.book import Book, BookBroken, BookBusy
from policies.calls import Draft
from policies.digest import changed, proposal_as_json
from policies.explain import Explanation, explain
from policies.intents import Intents, NotNow
from policies.judge import effects_of, judge
from policies.people import Caller
from policies.policy import Policy
from policies.proposal import Proposal
from policies.redact import redact, visible
from policies.tool import Busy, Tool, ToolArgs, ToolFailed
from policies.trouble import report_bug
from policies.verdict import Allow, Answer, Ask, Deny
from policies.worker import Worker

T = TypeVar("T")
Defaults = Callable[[str, Mapping[str, Any], Caller], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that was judged and not denied."""

    draft: Draft
    tool: Tool
    args: ToolArgs
    verdict: Allow | Ask


@dataclass(frozen=True, slots=True)
class Turned:
    """A call that goes no further, with the answer to it."""

    draft: Draft
    answer: Answer
    verdict: Deny | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Admission:
    """Everything of the door that comes before an intent."""

    tools: Mapping[str, Tool]
    book: Book
    policy: Policy
    intents: Intents
    worker: Worker
    defaults: Defaults
    clock: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]

    async def admit(self, draft: Draft, raw: Mapping[str, Any]) -> Admitted | Turned:
        """Bring a call to its verdict. Raises only when the book cannot be read."""

        def turn(reason: str, remedy: str, kind: str, error: str = "", status: Literal["refused", "failed"] = "failed") -> Turned:
            return Turned(draft, draft.no(reason, remedy, kind, status), error=error or kind)

        tool = self.tools.get(draft.tool)
        try:
            if tool is None:
                raise Malformed("There is no such tool.", f"Known: {', '.join(sorted(self.tools))}.")
            screen(raw, self.policy.limits.calls.args_bytes)
            draft = replace(draft, version=tool.version)
            if not self.book.read(lambda conn: self.intents.knows(conn, draft.caller.person)):
                return turn("This person is not known here, or no longer active.", "Sign in as a person that this Luthier knows.",
                            "denied", status="refused")
            args, proposal = await self._propose(tool, draft.tool, draft.caller, raw)
            shape = proposal_as_json(proposal)
            draft = replace(
                draft, args=normal(args), proposal=shape, effects=tuple(effect.value for effect in effects_of(proposal)),
                digest=self.intents.digest(draft.tool, tool.version, normal(args), shape, draft.caller.person),
            )
            facts = self.book.read(lambda conn: self.intents.facts(conn, draft.tool, proposal, draft.caller.person, self.clock()))
            verdict = judge(proposal, draft.tool, draft.caller, facts, self.policy)
        except Malformed as wrong:
            return turn(wrong.reason, wrong.remedy, "malformed", status="refused")
        except ToolFailed as error:
            return Turned(draft, ends.tool_failed(draft, error), error=error.kind)
        except Busy as error:
            return turn(f"{error.what} is busy.", "Try again in a moment.", "busy")
        except TimeoutError:
            return turn("The tool did not say in time what it would do.", "Try again.", "timeout")
        except (BookBroken, BookBusy):
            raise
        except Exception as error:
            return turn(*report_bug(f"the proposal of {draft.tool}", error), "internal", type(error).__name__)
        if isinstance(verdict, Deny):
            return Turned(draft, draft.no(verdict.reason, verdict.remedy, "denied", "refused"), verdict)
        return Admitted(draft, tool, args, verdict)

    async def same_again(self, row: Row[Any]) -> tuple[Tool, ToolArgs]:
        """The tool and the arguments of an approved call, when it still proposes what was approved. Raises NotNow."""
        tool = self.tools.get(row.tool)
        if tool is None or tool.version != row.tool_version:
            raise NotNow("The tool has changed since it was asked for.", "Ask again.", void=True)
        try:
            args = reparse(tool, row.args_json)
            now = proposal_as_json(await self.patiently(lambda: tool.propose(args), self.policy.limits.calls.propose_timeout_s))
        except ToolFailed as error:
            raise NotNow(f"{error.what}: {error.because}", error.try_next, void=False) from error
        except (Busy, TimeoutError) as error:
            raise NotNow(f"{row.tool} is busy.", "Approve once more in a moment.", void=False) from error
        except Exception as error:
            raise NotNow(*report_bug(f"the proposal of {row.tool}", error), void=False) from error
        difference = changed(json.loads(row.proposal_json), now)
        if difference:
            raise NotNow(f"What was approved has changed since: {difference}.", "Ask again.", void=True)
        return tool, args

    async def explain(self, name: str, raw: Mapping[str, Any], caller: Caller) -> Explanation:
        """Why the policy in force says what it says to a call, which is not made. Raises ToolFailed when no such call can be."""
        tool, what = self.tools.get(name), f"Explain {visible(redact(name))[:60]}"
        try:
            if tool is None:
                raise Malformed("There is no such tool.", f"Known: {', '.join(sorted(self.tools))}.")
            screen(raw, self.policy.limits.calls.args_bytes)
            if not self.book.read(lambda conn: self.intents.knows(conn, caller.person)):
                raise ToolFailed(what, "this person is not known here, or no longer active.", "Sign in as a known person.", kind="refused")
            _, proposal = await self._propose(tool, name, caller, raw)
        except Malformed as wrong:
            raise ToolFailed(what, wrong.reason, wrong.remedy, kind="malformed") from wrong
        except (Busy, TimeoutError) as error:
            raise ToolFailed(what, "the tool did not say in time what it would do.", "Try again in a moment.", kind="busy") from error
        facts = self.book.read(lambda conn: self.intents.facts(conn, name, proposal, caller.person, self.clock()))
        return explain(proposal, name, caller, facts, self.policy)

    async def proposal_of(self, name: str, raw: Mapping[str, Any]) -> Proposal | None:
        """What a tool would do with exactly these arguments; None when it cannot say."""
        tool = self.tools.get(name)
        if tool is None:
            return None
        try:
            args = parse(tool, raw)
            return await self.worker.run(lambda: tool.propose(args), self.policy.limits.calls.propose_timeout_s)
        except (Malformed, ToolFailed, Busy, TimeoutError):
            return None
        except Exception as error:
            report_bug(f"the proposal of {name}", error)
            return None

    async def patiently(self, work: Callable[[], T], timeout_s: float) -> T:
        """Run blocking work in a thread; a busy one is tried again with a growing pause, a counted number of times."""
        for attempt in range(self.policy.limits.calls.busy_retries):
            try:
                return await self.worker.run(work, timeout_s)
            except Busy as busy:
                await self.sleep(min(10.0, max(0.01, busy.retry_after_s) * 2**attempt))
        return await self.worker.run(work, timeout_s)

    async def _propose(self, tool: Tool, name: str, caller: Caller, raw: Mapping[str, Any]) -> tuple[ToolArgs, Proposal]:
        def work() -> tuple[ToolArgs, Proposal]:
            args = parse(tool, {**raw, **self.defaults(name, raw, caller)})
            return args, tool.propose(args)

        return await self.patiently(work, self.policy.limits.calls.propose_timeout_s)
