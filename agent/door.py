"""What one process holds of a home: its settings, book, gateway and tools, under the home's lock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import JsonValue

from agent.home import HomeLock
from agent.secrets import SecretStore
from agent.settings import Settings
from policies.book import Book
from policies.gateway import Gateway
from policies.people import Caller, People
from policies.tool import Tool


class RunFacts(Protocol):
    """One run as faces show it; `as_json` has every field."""

    @property
    def run_id(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def thread(self) -> str | None: ...
    @property
    def state(self) -> str: ...
    def as_json(self) -> dict[str, JsonValue]: ...


class News(Protocol):
    """A run changed its state; `text` is for faces, `for_brain` for the model."""

    @property
    def run_id(self) -> str: ...
    @property
    def thread(self) -> str | None: ...
    @property
    def owner(self) -> str: ...
    @property
    def to_state(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def for_brain(self) -> Mapping[str, JsonValue]: ...
    @property
    def final(self) -> bool: ...


class Owed(Protocol):
    """What a call has cost in the end, in micro-units of US dollars."""

    @property
    def call_id(self) -> str: ...
    @property
    def micros(self) -> int: ...
    @property
    def basis(self) -> str: ...


class LogLines(Protocol):
    """Redacted lines of a run's output and where to read on."""

    @property
    def lines(self) -> tuple[str, ...]: ...
    @property
    def offset(self) -> int: ...


class LogMore(Protocol):
    """What came since a mark of a run's log, redacted."""

    @property
    def lines(self) -> tuple[str, ...]: ...
    @property
    def mark(self) -> str: ...
    @property
    def skipped_bytes(self) -> int: ...
    @property
    def again(self) -> bool: ...
    @property
    def bar(self) -> str: ...


class Models(Protocol):
    """Where a person's own model folders are registered."""

    def add_folder(self, path: Path, owner: str, name: str = "") -> Any: ...


class Hands(Protocol):
    """The toolbox, as far as the conversation needs it."""

    @property
    def tools(self) -> Mapping[str, Tool]: ...
    @property
    def catalogue(self) -> Models: ...
    @property
    def defaults(self) -> Callable[[str, Mapping[str, Any], Caller], Mapping[str, Any]]: ...
    def environments(self) -> Sequence[Mapping[str, Any]]: ...
    def cloud_facts(self, look: bool) -> tuple[Mapping[str, JsonValue], Sequence[dict[str, str]]]: ...
    def reconcile(self) -> Sequence[News]: ...
    def settlements(self) -> Sequence[Owed]: ...
    def run_ends(self, after: int) -> tuple[Sequence[News], int]: ...
    def run_view(self, run_id: str, /) -> RunFacts | None: ...
    def report(self, run_id: str, /) -> dict[str, JsonValue] | None: ...
    def watch(self, run_id: str, offset: int = 0) -> tuple[list[dict[str, Any]], int]: ...
    def curves(self, run_id: str) -> tuple[Sequence[tuple[int, float]], Sequence[tuple[int, float]], int]: ...
    def follow_log(self, run_id: str, mark: str = "") -> LogMore: ...
    def log(self, run_id: str, offset: int | None = None, lines: int | None = None) -> LogLines: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Door:
    """Enough for `call`; `close` gives everything back, in the right order."""

    settings: Settings
    places: Any
    book: Book
    gateway: Gateway
    toolbox: Hands
    people: People
    secrets: SecretStore
    lock: HomeLock

    def close(self) -> None:
        """End the answering child, sign the record, close the book, release the lock. Runs go on."""
        self.toolbox.close()
        self.gateway.close()
        self.book.close()
        self.lock.release()
