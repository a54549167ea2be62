"""How the terminal reaches the workshop: through the server's control socket, or alone under the home's lock."""

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

from agent.settings import Settings
from policies.tool import ToolFailed
from ui.control import ask
from ui.desk import Desk, Line
from ui.shop import Shop


@contextmanager
def open_shop(settings: Settings) -> Iterator[Shop]:
    """The real workshop, under the home's lock. Raises ToolFailed (kind `locked`) when another process has it."""
    from agent.compose import build_door, build_workshop  # imports the graph: not for a command that only asks the server

    door = build_door(settings)
    try:
        yield build_workshop(door)
    finally:
        door.close()


async def reach(settings: Settings, request: Mapping[str, Any]) -> AsyncIterator[Line]:
    """The lines that answer `request`, from whoever serves the home, else from here."""
    path = settings.home / "control.sock"
    try:
        async with aclosing(ask(path, request)) as lines:  # pyright: ignore[reportArgumentType]
            async for line in lines:
                yield line
        return
    except (FileNotFoundError, ConnectionRefusedError):
        pass
    with open_shop(settings) as shop:
        await shop.start()
        try:
            url = f"http://{settings.host}:{settings.port}"
            async with aclosing(Desk(shop, url=settings.public_url.rstrip("/") or url).answer(request)) as lines:  # pyright: ignore[reportArgumentType]
                async for line in lines:
                    yield line
        finally:
            await shop.close()


async def fetch(settings: Settings, request: Mapping[str, Any]) -> Any:
    """The last line's value. Raises ToolFailed for an error line."""
    found: Any = None
    async with aclosing(reach(settings, request)) as lines:  # pyright: ignore[reportArgumentType]
        async for line in lines:
            found = end_of(line, found)
    return found


def end_of(line: Mapping[str, Any], before: Any = None) -> Any:
    """The value of an `end` line, `before` for any other line. Raises ToolFailed for an error line."""
    if error := line.get("error"):
        raise ToolFailed(error["what"], error["because"], error["try_next"], kind=error["kind"])
    return line.get("end", before)


async def with_progress(settings: Settings, request: Mapping[str, Any]) -> Any:
    """As `fetch`; how far long work has come is said on the error output when that is a terminal."""
    found: Any = None
    console = Console(file=sys.stderr)
    async with aclosing(reach(settings, request)) as lines:  # pyright: ignore[reportArgumentType]
        async for line in lines:
            found = end_of(line, found)
            if (told := line.get("progress")) and console.is_terminal:
                console.print(Text(told["text"], style="dim"))
    return found
