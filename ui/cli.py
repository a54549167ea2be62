"""The terminal's commands: `python -m ui` and what follows it. Each reaches the running server, or works alone under the lock."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

import click
from rich.console import Console

from agent.settings import Settings
from policies.tool import ToolFailed
from ui.cli_approvals import EXIT, approvals, approve, ask, deny, show_answer, withdraw
from ui.cli_audit import audit
from ui.cli_home import data, model, notify, secret
from ui.cli_people import people
from ui.cli_policy import policy
from ui.cli_watch import watch
from ui.reach import end_of, fetch, open_shop, reach, with_progress
from ui.terminal import TurnPrinter, approval_panel, how_to_decide, line_of, pairs, print_json
from ui.wire import event_of


def run(argv: Sequence[str]) -> int:
    """Run one command; the exit status. Errors that tell what to do are printed, bugs rise."""
    try:
        status = commands.main(args=list(argv), prog_name="python -m ui", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ToolFailed as failed:
        click.echo(f"{failed.what}: {failed.because}\n{failed.try_next}", err=True)
        return 1
    except KeyboardInterrupt:
        return 130


@click.group(invoke_without_command=True)
@click.pass_context
def commands(context: click.Context) -> int | None:
    """Luthier: say what a small language model should learn. Without a command: serve the chat in the browser."""
    context.obj = settings = Settings.from_env()
    if context.invoked_subcommand is None:
        from ui.server import serve

        return serve(settings, open_shop, click.echo)
    return None


for each in (approvals, approve, audit, data, deny, model, notify, people, policy, secret, watch, withdraw):
    commands.add_command(each)


@commands.command()
@click.argument("text")
@click.option("--thread", default="terminal", help="The conversation to go on with.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of words.")
@click.pass_obj
def say(settings: Settings, text: str, thread: str, as_json: bool) -> int:
    """One turn with the brain. An approval that comes of it is asked here, never by the brain."""
    printer = TurnPrinter(Console(file=sys.stderr) if as_json else Console())

    async def turn() -> None:
        async with aclosing(reach(settings, {"op": "say", "text": text, "thread": thread})) as lines:  # pyright: ignore[reportArgumentType]
            async for line in lines:
                end_of(line)
                if "event" in line:
                    printer.show(event_of(line))

    asyncio.run(turn())
    if as_json:
        problem = None if printer.problem is None else {"text": printer.problem.text, "remedy": printer.problem.remedy}
        print_json({"thread": thread, "text": printer.text, "runs": printer.runs, "problem": problem,
                    "approvals": [{"id": view.id, "tool": view.tool, "reason": view.reason} for view in printer.waiting]})
    else:
        for view in printer.waiting:
            printer.console.print(approval_panel(view))
            if sys.stdin.isatty():
                ask(settings, {"op": "decide", "id": view.id, "answer": "approve"}, printer.console)
            else:
                click.echo(how_to_decide(view))
    return 1 if printer.problem else 0


@commands.command(context_settings={"ignore_unknown_options": True})
@click.argument("tool")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]…")
@click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON object.")
@click.option("--thread", default="terminal", help="The conversation the call belongs to.")
@click.pass_obj
def call(settings: Settings, tool: str, arguments: tuple[str, ...], as_json: bool, thread: str) -> int:
    """Perform one tool without any brain. Exit status: 0 done, 3 waiting for an approval, 4 refused, 1 failed, 2 wrong usage."""
    request = {"op": "call", "tool": tool, "args": pairs(arguments), "thread": thread}
    answer = asyncio.run(with_progress(settings, request))
    if as_json:
        print_json(answer)
    else:
        show_answer(answer)
    return EXIT[answer["status"]]


@commands.command()
@click.option("--person", default="owner", help="Who will be signed in with it; by default the home's owner.")
@click.pass_obj
def link(settings: Settings, person: str) -> int:
    """Print a new sign-in link for the browser: it works once, for ten minutes, and signs in the person it was made for."""
    found = _fetch(settings, {"op": "link", "person": person})
    click.echo(f"{found['url']}/enter?t={found['token']}")
    return 0


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--cloud", is_flag=True, help="Ask Azure too: who is signed in, and whether anything there stands in no book.")
@click.pass_obj
def doctor(settings: Settings, as_json: bool, cloud: bool) -> int:
    """What this installation is made of, what is missing, and what to do about it. Exit status 1 when something is missing."""
    found = _fetch(settings, {"op": "doctor", "cloud": cloud})
    if as_json:
        print_json(found)
    else:
        for name, value in found.items():
            if name != "problems":
                click.echo(f"{name}: {line_of(value)}")
        for problem in found.get("problems", []):
            click.echo(f"\n{problem['what']}\n  {problem['remedy']}")
    return 0 if found.get("ok") else 1


def _fetch(settings: Settings, request: Mapping[str, Any]) -> Any:
    return asyncio.run(fetch(settings, request))
