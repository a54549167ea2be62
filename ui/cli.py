"""The terminal's commands: `python -m ui` and what follows it. Each reaches the running server, or works alone under the lock."""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from agent.settings import Settings
from policies.tool import ToolFailed
from ui.cli_home import audit, data, model, policy, secret
from ui.reach import end_of, fetch, open_shop, reach
from ui.terminal import RunScreen, TurnPrinter, approval_panel, how_to_decide, print_json
from ui.wire import event_of, view_of

EXIT = {"done": 0, "waiting": 3, "refused": 4, "failed": 1}
RUN_EXIT = {"finished": 0}


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


for group in (audit, data, model, policy, secret):
    commands.add_command(group)


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
            _ask(settings, view.id, printer.console) if sys.stdin.isatty() else click.echo(how_to_decide(view))
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
    answer = asyncio.run(_with_progress(settings, request))
    if as_json:
        print_json(answer)
    else:
        _show_answer(answer)
    return EXIT[answer["status"]]


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def approvals(settings: Settings, as_json: bool) -> int:
    """What waits for a decision."""
    waiting = _fetch(settings, {"op": "pending"})
    if as_json:
        print_json(waiting)
        return 0
    for each in waiting:
        Console().print(approval_panel(view_of(each)))
    if not waiting:
        click.echo("Nothing waits for a decision.")
    return 0


@commands.command()
@click.argument("identity", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@click.pass_obj
def approve(settings: Settings, identity: str, yes: bool) -> int:
    """Approve a waiting call after showing it; it is then performed."""
    console = Console()
    found = _fetch(settings, {"op": "approval", "id": identity})
    if found is None:
        raise ToolFailed("Nothing was approved", f"there is no approval {identity}.", "`python -m ui approvals` lists those that wait.")
    console.print(approval_panel(view_of(found)))
    if yes:
        return _decide(settings, {"op": "decide", "id": identity, "answer": "approve"}, console)
    if not sys.stdin.isatty():
        raise click.UsageError("This is no terminal, so nobody can be asked. Add --yes to approve exactly what is shown.")
    return _ask(settings, identity, console)


@commands.command()
@click.argument("identity", metavar="ID")
@click.option("--why", default="", help="The reason, for the requester and the record.")
@click.pass_obj
def deny(settings: Settings, identity: str, why: str) -> int:
    """Deny a waiting call."""
    return _decide(settings, {"op": "decide", "id": identity, "answer": "deny", "why": why}, Console())


@commands.command()
@click.argument("identity", metavar="ID")
@click.pass_obj
def withdraw(settings: Settings, identity: str) -> int:
    """Take back a call that you asked for."""
    return _decide(settings, {"op": "withdraw", "id": identity}, Console())


@commands.command()
@click.argument("run_id", metavar="RUN")
@click.pass_obj
def watch(settings: Settings, run_id: str) -> int:
    """Follow a run until it ends. Leaving with Ctrl-C does not stop it."""
    screen, console = RunScreen(), Console()

    async def follow(show: Callable[[], None]) -> None:
        async with aclosing(reach(settings, {"op": "watch", "run_id": run_id})) as lines:  # pyright: ignore[reportArgumentType]
            async for line in lines:
                end_of(line)
                if "watch" in line and screen.add(line["watch"]):
                    show()

    if console.is_terminal:
        with Live(screen.render(), console=console, refresh_per_second=4) as live:
            asyncio.run(follow(lambda: live.update(screen.render())))
    else:
        told: list[str] = []

        def tell() -> None:
            if screen.view and (line := screen.line()) not in told[-1:]:
                told.append(line)
                click.echo(line)

        asyncio.run(follow(tell))
    return RUN_EXIT.get(str(screen.view.get("state")), 1)


@commands.command()
@click.pass_obj
def link(settings: Settings) -> int:
    """Print a new sign-in link for the browser: it works once, for ten minutes."""
    found = _fetch(settings, {"op": "link"})
    click.echo(f"{found['url']}/enter?t={found['token']}")
    return 0


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def doctor(settings: Settings, as_json: bool) -> int:
    """What this installation is made of, what is missing, and what to do about it. Exit status 1 when something is missing."""
    found = _fetch(settings, {"op": "doctor"})
    if as_json:
        print_json(found)
    else:
        for name, value in found.items():
            if name != "problems":
                click.echo(f"{name}: {value if not isinstance(value, list) else ', '.join(map(str, value))}")
        for problem in found.get("problems", []):
            click.echo(f"\n{problem['what']}\n  {problem['remedy']}")
    return 0 if found.get("ok") else 1


def pairs(arguments: Sequence[str]) -> dict[str, Any]:
    """`key=value` words as arguments; a value that looks like a JSON list, object, truth value or null is read as one."""
    found: dict[str, Any] = {}
    for word in arguments:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier() or name in found:
            raise click.UsageError(f"{word!r} is not of the form key=value, or its key stands twice.")
        found[name] = value
        if value[:1] in ("[", "{") or value in ("true", "false", "null"):
            try:
                found[name] = json.loads(value)
            except ValueError:
                raise click.UsageError(f"The value of {name} is no JSON.") from None
    return found


def _show_answer(answer: Mapping[str, Any]) -> None:
    match answer["status"]:
        case "done":
            click.echo(json.dumps(answer["result"], indent=2, ensure_ascii=False, default=str))
        case "waiting":
            click.echo(f"{answer['approval']['reason']}\nWaiting for a decision: python -m ui approve {answer['approval']['id']}")
        case status:
            click.echo(f"{answer['tool']}: {status}. {answer['reason']}\n{answer['remedy']}".rstrip(), err=True)


def _ask(settings: Settings, identity: str, console: Console) -> int:
    """Our own question; whoever answers it has seen the card."""
    if not click.confirm(f"Approve {identity}?", default=False):
        console.print(Text(f"Not approved. It still waits: python -m ui approve {identity}", style="dim"))
        return 0
    return _decide(settings, {"op": "decide", "id": identity, "answer": "approve"}, console)


def _decide(settings: Settings, request: Mapping[str, Any], console: Console) -> int:
    decision = asyncio.run(_with_progress(settings, request))
    console.print(Text(decision["message"]))
    answer = decision["answer"]
    if answer is not None:
        if answer["status"] in ("failed", "refused"):
            _show_answer(answer)
            return EXIT[answer["status"]]
        if run_id := answer["result"].get("run_id"):
            console.print(Text(f"Run {run_id} goes on by itself. Follow it: python -m ui watch {run_id}"))
    return 0 if decision["ok"] else 4


def _fetch(settings: Settings, request: Mapping[str, Any]) -> Any:
    return asyncio.run(fetch(settings, request))


async def _with_progress(settings: Settings, request: Mapping[str, Any]) -> Any:
    found: Any = None
    console = Console(file=sys.stderr)
    async with aclosing(reach(settings, request)) as lines:  # pyright: ignore[reportArgumentType]
        async for line in lines:
            found = end_of(line, found)
            if (told := line.get("progress")) and console.is_terminal:
                console.print(Text(told["text"], style="dim"))
    return found
