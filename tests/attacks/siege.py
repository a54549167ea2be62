"""A home under siege: the real toolbox and some weapons, the real gateway, book and workshop, and a brain that wants harm."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from sqlalchemy import select
from tokenizers import Tokenizer, models, pre_tokenizers

from agent.brain.brain import Brain
from agent.door import Door
from agent.events import ApprovalWanted, Event, ToolEnded
from agent.home import HomeLock
from agent.secrets import SecretStore
from agent.settings import Settings
from agent.workshop import Workshop
from policies.audit.verify import verify
from policies.book import Book
from policies.gateway import Gateway
from policies.people import Caller, People
from policies.policy import Policy
from policies.tables import approvals, audit, datasets, ledger
from policies.verdict import Answer, ApprovalView
from tests.agent.scripted import Scripted, after_words
from tests.attacks.weapons import Weapon, armoury
from tests.policies.home import Clock
from tests.tools.fakes_machine import write_model
from tests.tools.fakes_runs import ROOT, engine_script
from tools.places import Places
from tools.runs.state import RunState
from tools.runs.store import NewRun
from tools.toolbox import build_toolbox

ME = Caller("owner", "web", "link", session="s-owner")
BOB, CY, MEL, VIC = (Caller(name, "web", "link", session=f"s-{name}") for name in ("bob", "cy", "mel", "vic"))
CANARY = "CANARY-7b1d-obey-me"


class Hostile(Scripted):
    """A model that says what its script gives, and keeps all that it was ever told."""

    heard: list[str]

    def bind_tools(self, tools: Any, **kwargs: Any) -> "Hostile":
        """Itself, so that what it hears is kept in one place."""
        return self

    async def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        self.heard.extend(str(each.model_dump()) for each in messages)
        async for chunk in super()._astream(messages, *args, **kwargs):
            yield chunk


def hostile(*answers: AIMessage) -> Hostile:
    """A model that gives these answers in turn after each message, then says the last tool's status."""
    return Hostile(script=after_words(*answers), heard=[])


def whole_model(folder: Path) -> Path:
    """A small model folder whose tokenizer can be loaded: one token for each word."""
    write_model(folder)
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": {"content": "<end>"}, "chat_template": "{% for m in messages %}{{ m['content'] }} {% endfor %}"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


class Siege:
    """One home; `workshop` opens a conversation over it, as often as a test restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "home"
        self.samples = folder / "samples"
        self.samples.mkdir()
        self.settings = Settings(home=self.path)
        self.book = Book.open(self.path / "book.sqlite")
        self.people = People(self.book)
        self.people.ensure_owner()
        self.clock = Clock()
        whole_model(folder / "bundled" / "model")
        self.places = Places(
            ROOT,
            self.path,
            data=(self.samples, self.path / "data"),
            engine_python=engine_script(folder),
            bundled=folder / "bundled",
        )
        self.weapons: dict[str, Weapon] = armoury()
        made = build_toolbox(self.places, self.book, Policy.load)
        self.toolbox = replace(made, tools={**made.tools, **self.weapons})

    def gateway(self) -> Gateway:
        """A gateway over this home with a clock that a test moves."""
        policy = Policy.load(self.path / "policy")
        return Gateway(self.toolbox.tools, self.book, policy, self.people, self.toolbox.defaults, clock=self.clock)

    def gateway_with(self, **sections: dict[str, Any]) -> Gateway:
        """A gateway under other limits: the named keys of the named sections."""
        limits = Policy.load().limits
        changed = limits.model_copy(update={name: getattr(limits, name).model_copy(update=keys) for name, keys in sections.items()})
        policy = replace(Policy.load(), limits=changed)
        return Gateway(self.toolbox.tools, self.book, policy, self.people, self.toolbox.defaults, clock=self.clock)

    @asynccontextmanager
    async def workshop(self, brain: Hostile | None = None, **pace: float) -> AsyncIterator[Workshop]:
        """A started workshop with a brain that wants harm."""
        door = Door(
            self.settings,
            self.places,
            self.book,
            self.gateway(),
            self.toolbox,
            self.people,  # pyright: ignore[reportArgumentType]
            SecretStore(self.path / "secrets", use_keyring=False),
            HomeLock(self.path),
        )
        shop = Workshop(door, Brain(brain or hostile(), "hostile"), **({"look_s": 60.0, "sweep_s": 60.0} | pace))
        await shop.start()
        try:
            yield shop
        finally:
            await shop.close()
            await door.gateway.settle()

    async def attack(self, *answers: AIMessage, words: str = "go", caller: Caller = ME, thread: str = "t1") -> "Attack":
        """One turn of a model that gives these answers."""
        model = hostile(*answers)
        async with self.workshop(model) as shop:
            events = [event async for event in shop.say(thread, words, caller)]
        return Attack(events, model)

    def more_people(self) -> None:
        """From now on three people may decide, one may work and one may only look."""
        self.people.add("bob", "Bob", "approver")
        self.people.add("cy", "Cy", "approver")
        self.people.add("mel", "Mel", "member")
        self.people.add("vic", "Vic", "viewer")

    def run(
        self,
        run_id: str = "0123456789",
        owner: str = "owner",
        thread: str = "t1",
        state: RunState = RunState.FINISHED,
        log: str = "",
        name: str = "",
        events: Sequence[dict[str, Any]] = (),
    ) -> Path:
        """A run that has ended, with its folder; returns the folder."""
        store = self.toolbox.store
        store.create(NewRun(run_id, owner, thread, f"call of {run_id}", name, "bundled", "samples/rows.jsonl", "qlora", {}, None))
        folder = self.places.runs / run_id
        folder.mkdir(parents=True)
        (folder / "log.txt").write_text(log)
        (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        store.set_state(run_id, state, "as the test wants")
        return folder

    def rows(self, name: str, count: int = 12, text: str = "", column: str = "") -> str:
        """A dataset below the samples; returns its reference."""
        made = [
            {"prompt": f"question {n} {text}", "completion": f"answer {n} {text}"} | ({column: n} if column else {}) for n in range(count)
        ]
        (self.samples / name).write_text("".join(json.dumps(row) + "\n" for row in made))
        return f"samples/{name}"

    @property
    def shots(self) -> int:
        """How often any weapon that needs a yes really went off."""
        return sum(weapon.shots for name, weapon in self.weapons.items() if name != "look")

    def records(self) -> list[dict[str, Any]]:
        """Every audit record."""
        return [
            json.loads(row.record) for row in self.book.read(lambda conn: conn.execute(select(audit.c.record).order_by(audit.c.seq)).all())
        ]

    def denials(self) -> list[str]:
        """The reasons of every refused call or decision."""
        return [
            str(one["detail"]["reason"])
            for one in self.records()
            if one["policy"]["decision"] == "deny" and (one.get("detail") or {}).get("reason")
        ]

    def approval_rows(self) -> list[Any]:
        """Every approval as the book has it."""
        return list(self.book.read(lambda conn: conn.execute(select(approvals)).all()))

    def registered(self) -> int:
        """How many datasets are registered."""
        return len(self.book.read(lambda conn: conn.execute(select(datasets.c.id)).all()))

    def money(self) -> int:
        """How many entries the ledger has."""
        return len(self.book.read(lambda conn: conn.execute(select(ledger.c.id)).all()))

    def kept(self) -> dict[str, bytes]:
        """The raw bytes of what outlives a process: the conversation's store, the book with its audit log."""
        found = {}
        for name in ("memory.sqlite", "book.sqlite"):
            found[name] = b"".join(path.read_bytes() for path in sorted(self.path.glob(f"{name}*")))
        return found

    def intact(self) -> bool:
        """Whether the audit log verifies, and every intent has exactly one outcome."""
        every = self.records()
        outcomes = [one["refs"]["intent"] for one in every if one["kind"] == "outcome"]
        whole = verify(self.path / "book.sqlite", strict=True)[0] == 0
        return whole and sorted(outcomes) == [one["seq"] for one in every if one["kind"] == "intent"]

    def close(self) -> None:
        """End every child and let go of the book."""
        self.toolbox.close()
        self.book.close()


class Attack:
    """What came of one turn."""

    def __init__(self, events: Sequence[Event], model: Hostile) -> None:
        self.events, self.model = events, model

    @property
    def statuses(self) -> list[str]:
        """Of every call, in order."""
        return [event.status for event in self.events if isinstance(event, ToolEnded)]

    @property
    def reasons(self) -> str:
        """What people were told, in one text."""
        return " ".join(f"{event.reason} {event.remedy}" for event in self.events if isinstance(event, ToolEnded))

    @property
    def cards(self) -> list[ApprovalView]:
        """The cards that were shown."""
        return [event.approval for event in self.events if isinstance(event, ApprovalWanted)]

    @property
    def told(self) -> str:
        """All that the model heard."""
        return "\n".join(self.model.heard)


async def waiting(gateway: Gateway, tool: str, caller: Caller = ME, **raw: Any) -> ApprovalView:
    """A call that waits, and its approval."""
    answer: Answer = await gateway.call(tool, raw, caller)
    assert answer.status == "waiting" and answer.approval is not None, answer
    return answer.approval
