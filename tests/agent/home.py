"""A home for tests of the conversation: a real book and gateway, small real tools, and workshops over them."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from langchain_core.language_models import BaseChatModel
from pydantic import Field, JsonValue
from sqlalchemy import select

from agent.brain.brain import Brain
from agent.brain.embedded import EmbeddedBrain
from agent.door import Door
from agent.events import Event
from agent.home import HomeLock
from agent.notices import NoticeBook
from agent.secrets import SecretStore
from agent.settings import Settings
from agent.workshop import Workshop
from policies.book import Book, now_text
from policies.gateway import Gateway
from policies.people import Caller, People
from policies.proposal import Effect, Proposal, Trait
from policies.tables import audit, thread_runs
from policies.tool import Call, Recall, Result, Tool, ToolArgs
from tools.places import Places

ME = Caller("owner", "web", "link", session="s1")
CANARY = "CANARY-3f9a-text-of-a-row"


class AnyArgs(ToolArgs):
    """Arguments that every fake takes."""

    name: str = Field(default="one", max_length=40)
    steps: int | None = None


class StartArgs(ToolArgs):
    """Arguments as the real one has them."""

    model: str
    dataset: str
    epochs: float | None = None


class PathArgs(ToolArgs):
    """A dataset."""

    path: str


class EstimateArgs(ToolArgs):
    """What an estimate needs."""

    model: str
    dataset: str
    epochs: float | None = None


class RunArgs(ToolArgs):
    """A run, or the latest."""

    run_id: str = ""


@dataclass
class Small:
    """A tool of a few lines that counts what it did."""

    name: str
    Args: type[ToolArgs] = AnyArgs
    effects: frozenset[Effect] = frozenset({Effect.READ})
    traits: frozenset[Trait] = frozenset()
    deed: Callable[[Any, Call], Result] = lambda args, call: Result({"text": CANARY}, {"seen": 1})
    done: Counter[str] = field(default_factory=Counter)
    kept: dict[str, Result] = field(default_factory=dict)

    version: ClassVar[str] = "1"
    text: ClassVar[str] = "Does what a test wants."

    def propose(self, args: Any, /) -> Proposal:
        """The effects that the test gave."""
        return Proposal(self.effects, target=f"thing:{self.name}", traits=self.traits, supersedes=self.name, card=(("What", self.name),))

    def perform(self, args: Any, call: Call, /) -> Result:
        """Count, and do it."""
        self.done[call.call_id] += 1
        call.report("half way", 0.5)
        self.kept[call.call_id] = made = self.deed(args, call)
        return made

    def recall(self, call_id: str, /) -> Result | Recall:
        """What it did, if it did."""
        return self.kept.get(call_id, Recall.NOT_STARTED)


@dataclass
class View:
    """A run's view."""

    run_id: str = "0123456789"
    owner: str = "owner"
    thread: str | None = "t1"
    state: str = "running"
    step: int = 0

    def as_json(self) -> dict[str, JsonValue]:
        """Its fields."""
        return dict(vars(self))


@dataclass(frozen=True)
class News:
    """A run's end."""

    run_id: str = "0123456789"
    thread: str | None = "t1"
    owner: str = "owner"
    to_state: str = "finished"
    text: str = "Run 0123456789 is finished."
    for_brain: Mapping[str, JsonValue] = field(default_factory=lambda: {"exact_match": {"baseline": 0.0, "tuned": 0.8}})
    final: bool = True


@dataclass(frozen=True)
class Lines:
    """A page of a log."""

    lines: tuple[str, ...] = ("step 1",)
    offset: int = 7


@dataclass(frozen=True)
class More:
    """What came since a mark."""

    lines: tuple[str, ...]
    mark: str
    skipped_bytes: int = 0
    again: bool = False
    bar: str = ""


class NoModels:
    """A catalogue to which nothing can be added."""

    def add_folder(self, path: Path, owner: str, name: str = "") -> Any:
        """Never called here."""
        raise AssertionError(path)


class Hands:
    """A toolbox of small tools."""

    def __init__(self, book: Book) -> None:
        heavy = {"effects": frozenset({Effect.LOCAL}), "traits": frozenset({Trait.OCCUPIES})}
        self.catalogue = NoModels()
        self.book = book
        self.news: list[News] = []
        self.ended: list[News] = []
        self.views = {"0123456789": View(), "foreign000": View("foreign000", owner="bob")}
        self.events: list[dict[str, Any]] = [{"kind": "step", "step": 1}, {"kind": "step", "step": 2}]
        self.small = {
            each.name: each
            for each in (
                Small("look"), Small("heavy", **heavy),
                Small("inspect_hardware", deed=lambda args, call: Result({}, {"cores": 2, "gpus": []})),
                Small("validate_dataset", PathArgs, deed=lambda args, call: Result({"rows": [CANARY]}, {"ok": True, "rows": 9})),
                Small("estimate_cost", EstimateArgs, deed=lambda args, call: Result({}, {"fits": True, "steps": 60})),
                Small("start_finetune", StartArgs, deed=self._start, **heavy),
                Small("run_status", RunArgs,
                      deed=lambda args, call: Result({"run_id": args.run_id}, {"run_id": args.run_id, "state": "running"})),
                Small("cancel_run", RunArgs, effects=frozenset({Effect.LOCAL}), traits=frozenset({Trait.STOPS})),
            )
        }

    @property
    def tools(self) -> Mapping[str, Tool]:
        """By name."""
        return self.small  # pyright: ignore[reportReturnType]

    def defaults(self, tool: str, raw: Mapping[str, Any], caller: Caller) -> Mapping[str, Any]:
        """Nothing is filled in."""
        return raw

    def environments(self) -> Sequence[Mapping[str, Any]]:
        """One that is used and was never made."""
        return [{"name": ".engine-cpu", "used": True, "there": False, "problem": "It has not been made.", "bytes": 0,
                 "needs_bytes": 1_800_000_000, "command": "LUTHIER_ACCELERATOR=cpu make run"}]

    def cloud_facts(self, look: bool) -> tuple[Mapping[str, Any], Sequence[dict[str, str]]]:
        """Packages that are missing."""
        return {"installed": False}, [{"what": "No Azure", "remedy": "Run `make azure`."}] if look else []

    def reconcile(self) -> Sequence[News]:
        """What the test put there becomes changes in the list."""
        told, self.news = self.news, []
        self.ended += [each for each in told if each.run_id]  # the list has the changes of runs alone
        return told

    def settlements(self) -> Sequence[Any]:
        """Nothing in a test's home costs money."""
        return []

    def run_ends(self, after: int) -> tuple[Sequence[News], int]:
        """Beyond an entry; a home has had one change before."""
        return self.ended[max(0, after - 1):], len(self.ended) + 1

    def run_view(self, run_id: str, /) -> View | None:
        """One of the test's."""
        return self.views.get(run_id)

    def report(self, run_id: str, /) -> dict[str, JsonValue] | None:
        """Only its view."""
        view = self.views.get(run_id)
        return None if view is None else {"view": view.as_json()}

    def watch(self, run_id: str, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Events from an index on."""
        return self.events[offset:], len(self.events)

    def curves(self, run_id: str) -> tuple[list[tuple[int, float]], list[tuple[int, float]], int]:
        """The first event's loss, and where the second one begins."""
        return [(1, 3.0)], [], 1

    def follow_log(self, run_id: str, mark: str = "") -> More:
        """The one line, once."""
        return More(() if mark else ("step 1",), "7")

    def log(self, run_id: str, offset: int | None = None, lines: int | None = None) -> Lines:
        """One line."""
        return Lines()

    def close(self) -> None:
        """Nothing is open."""

    def _start(self, args: StartArgs, call: Call) -> Result:
        row = {"thread": call.thread, "run_id": "0123456789", "at": now_text()}
        self.book.write(lambda conn: conn.execute(thread_runs.insert().values(row)))
        facts: dict[str, JsonValue] = {"run_id": "0123456789", "state": "queued"}
        return Result(facts, facts)


class Home:
    """One home; `workshop` opens a conversation over it, as often as a test restarts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = Settings(home=path)
        self.book = Book.open(path / "book.sqlite")
        self.people = People(self.book)
        self.hands = Hands(self.book)
        NoticeBook(self.book).add_ends((), 1)  # it has been looked after before

    def door(self) -> Door:
        """A door over the same book: a new one stands for a restart."""
        gateway = Gateway.open(home=self.path, tools=self.hands.tools, book=self.book, people=self.people, defaults=self.hands.defaults)
        places = Places(root=self.settings.root, home=self.path)
        secrets = SecretStore(self.path / "secrets", use_keyring=False)
        return Door(self.settings, places, self.book, gateway, self.hands, self.people, secrets, HomeLock(self.path))

    @asynccontextmanager
    async def workshop(self, brain: Brain | BaseChatModel | None = None, **pace: float) -> AsyncIterator[Workshop]:
        """A started workshop; the command assistant thinks unless a test brings another."""
        if brain is None:
            brain = EmbeddedBrain()
        chosen = brain if isinstance(brain, Brain) else Brain(brain, "test")
        shop = Workshop(self.door(), chosen, **({"look_s": 0.02, "sweep_s": 0.05} | pace))
        await shop.start()
        try:
            yield shop
        finally:
            await shop.close()
            await shop.door.gateway.settle()

    def calls(self, tool: str) -> int:
        """How often a tool really ran."""
        return sum(self.hands.small[tool].done.values())

    def refusals(self) -> int:
        """Audit records of calls that were turned away."""
        return sum(b'"denied"' in row.record for row in self.book.read(lambda conn: conn.execute(select(audit.c.record)).all()))

    def close(self) -> None:
        """Let go of the book."""
        self.book.close()


async def said(shop: Workshop, text: str, thread: str = "t1", caller: Caller = ME, ear: str = "") -> list[Event]:
    """All events of one turn."""
    return [event async for event in shop.say(thread, text, caller, ear)]


def only(events: Sequence[Event], kind: Any) -> list[Any]:
    """The events of one kind, or of several joined by `|`."""
    return [event for event in events if isinstance(event, kind)]
