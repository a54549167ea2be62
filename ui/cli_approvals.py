"""The terminal's commands about approvals: list, approve one or several, deny, withdraw."""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from agent.settings import Settings
from policies.tool import ToolFailed
from policies.verdict import ApprovalView
from ui.reach import fetch, with_progress
from ui.terminal import approval_panel, print_json
from ui.wire import view_of

EXIT = {"done": 0, "waiting": 3, "refused": 4, "failed": 1}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def approvals(settings: Settings, as_json: bool) -> int:
    """What waits for a decision."""
    waiting = asyncio.run(fetch(settings, {"op": "pending"}))
    if as_json:
        print_json(waiting)
        return 0
    for each in waiting:
        Console().print(approval_panel(view_of(each)))
    if not waiting:
        click.echo("Nothing waits for a decision.")
    return 0


@click.command()
@click.argument("identities", metavar="ID…", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask again.")
@click.option("--why", default="", help="The reason, for the record.")
@click.option("--break-glass", is_flag=True, help="An owner's yes alone to what needs others; needs --why, and limits.toml must permit it.")
@click.pass_obj
def approve(settings: Settings, identities: tuple[str, ...], yes: bool, why: str, break_glass: bool) -> int:
    """Approve waiting calls after showing them; each is then performed. Of several, every digest is listed before the question."""
    console, chosen = Console(), tuple(dict.fromkeys(identities))
    views = [_shown(settings, identity, console) for identity in chosen]
    if len(views) > 1:
        console.print(Text(f"These {len(views)} calls, by their digests:"))
        for view in views:
            console.print(Text(f"  {view.id}  digest {view.digest}  {view.tool} {view.target}"))
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("This is no terminal, so nobody can be asked. Add --yes to approve exactly what is shown.")
    if break_glass and (len(views) != 1 or not why.strip()):
        raise click.UsageError("The glass is broken for one approval at a time, and with a reason: --why TEXT.")
    if len(views) == 1:
        request = {"op": "decide", "id": views[0].id, "answer": "break_glass" if break_glass else "approve", "why": why}
        return decide(settings, request, console) if yes else ask(settings, request, console)
    if not yes and not click.confirm(f"Approve these {len(views)}?", default=False):
        console.print(Text("Nothing was approved; they still wait.", style="dim"))
        return 0
    request = {"op": "decide_many", "ids": [view.id for view in views], "answer": "approve", "why": why}
    done = asyncio.run(with_progress(settings, request))
    return max((_told(decision, console) for decision in done), default=0)


@click.command()
@click.argument("identity", metavar="ID")
@click.option("--why", default="", help="The reason, for the requester and the record.")
@click.pass_obj
def deny(settings: Settings, identity: str, why: str) -> int:
    """Deny a waiting call."""
    return decide(settings, {"op": "decide", "id": identity, "answer": "deny", "why": why}, Console())


@click.command()
@click.argument("identity", metavar="ID")
@click.pass_obj
def withdraw(settings: Settings, identity: str) -> int:
    """Take back a call that you asked for."""
    return decide(settings, {"op": "withdraw", "id": identity}, Console())


def ask(settings: Settings, request: Mapping[str, Any], console: Console) -> int:
    """Our own question before a yes is sent; whoever answers it has seen the card."""
    identity = request["id"]
    if not click.confirm(f"{'Break the glass for' if request['answer'] == 'break_glass' else 'Approve'} {identity}?", default=False):
        console.print(Text(f"Not approved. It still waits: python -m ui approve {identity}", style="dim"))
        return 0
    return decide(settings, request, console)


def decide(settings: Settings, request: Mapping[str, Any], console: Console) -> int:
    """Send one decision and say what became of it; the exit status."""
    return _told(asyncio.run(with_progress(settings, request)), console)


def show_answer(answer: Mapping[str, Any]) -> None:
    """A call's answer in words."""
    match answer["status"]:
        case "done":
            click.echo(json.dumps(answer["result"], indent=2, ensure_ascii=False, default=str))
        case "waiting":
            click.echo(f"{answer['approval']['reason']}\nWaiting for a decision: python -m ui approve {answer['approval']['id']}")
        case status:
            click.echo(f"{answer['tool']}: {status}. {answer['reason']}\n{answer['remedy']}".rstrip(), err=True)


def _shown(settings: Settings, identity: str, console: Console) -> ApprovalView:
    found = asyncio.run(fetch(settings, {"op": "approval", "id": identity}))
    if found is None:
        raise ToolFailed("Nothing was approved", f"there is no approval {identity[:40]}.", "`python -m ui approvals` lists what waits.")
    view = view_of(found)
    console.print(approval_panel(view))
    return view


def _told(decision: Mapping[str, Any], console: Console) -> int:
    console.print(Text(decision["message"]))
    answer = decision["answer"]
    if answer is not None:
        if answer["status"] in ("failed", "refused"):
            show_answer(answer)
            return EXIT[answer["status"]]
        if run_id := answer["result"].get("run_id"):
            console.print(Text(f"Run {run_id} goes on by itself. Follow it: python -m ui watch {run_id}"))
    return 0 if decision["ok"] else 4
