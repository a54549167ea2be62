"""`python -m ui watch`: a run in the terminal until it ends."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from agent.settings import Settings
from ui.reach import end_of, reach
from ui.run_screen import LOG_LINES, RunScreen
from ui.terminal import print_json

RUN_EXIT = {"finished": 0}


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="Print the run's events and views as JSON lines, all of them from its beginning.")
@click.pass_obj
def watch(settings: Settings, run_id: str, as_json: bool) -> int:
    """Follow a run until it ends. Leaving with Ctrl-C does not stop it. Exit status: 0 when it has finished, 1 when it ended otherwise."""
    screen, console = RunScreen(), Console()
    request: dict[str, Any] = {"op": "watch", "run_id": run_id}
    try:
        if as_json:
            asyncio.run(follow(settings, request, screen, lambda line: print_json(line["watch"]) if "watch" in line else None))
        elif console.is_terminal:
            with Live(console=console, refresh_per_second=4, get_renderable=screen.render):
                asyncio.run(follow(settings, {**request, "offset": None, "log": LOG_LINES}, screen, lambda line: None))
        else:
            asyncio.run(follow(settings, {**request, "offset": None}, screen, lambda line: [click.echo(each) for each in screen.news()]))
    except KeyboardInterrupt:
        click.echo(f"The run goes on. Stop it with: python -m ui call cancel_run run_id={run_id}", err=True)
        return 130
    return RUN_EXIT.get(str(screen.view.get("state")), 1)


async def follow(settings: Settings, request: dict[str, Any], screen: RunScreen, show: Callable[[dict[str, Any]], object]) -> None:
    """Feed the screen with what comes, and show each line of it. Raises ToolFailed when there is no such run."""
    async with aclosing(reach(settings, request)) as lines:  # pyright: ignore[reportArgumentType]
        async for line in lines:
            end_of(line)
            screen.add(line)
            show(line)
