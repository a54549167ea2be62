"""The terminal's commands about the policy: copy it, test it, explain a decision, read it anew."""

import asyncio
import shutil
from collections.abc import Mapping
from typing import Any

import click

from agent.settings import Settings
from policies.tool import ToolFailed
from ui.cli_approvals import EXIT, show_answer
from ui.reach import fetch
from ui.terminal import pairs, print_json

PARTS = ("rules", "cases")
_WORDS = {"allow": "it would be done", "ask": "it would wait for a yes", "deny": "it would be refused"}


@click.group()
def policy() -> None:
    """Who may do what, and how much."""


@policy.command("init")
@click.pass_obj
def policy_init(settings: Settings) -> int:
    """Copy the shipped rules, limits and cases into the home, to be edited there. They then replace the shipped ones as a whole."""
    target, shipped = settings.home / "policy", settings.root / "policies"
    if target.is_dir() and any(target.iterdir()):
        raise ToolFailed("Nothing was copied", f"{target} holds a policy already.", "Edit it there, or move it away first.")
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    for part in PARTS:
        if (shipped / part).is_dir():
            shutil.copytree(shipped / part, target / part)
    shutil.copy2(shipped / "limits.toml", target / "limits.toml")
    click.echo(f"Copied to {target}.\nAfter editing: `python -m ui policy test`, then `python -m ui policy reload`. A set that does not "
               "validate leaves the old one in force; at a start it permits nothing but reading.")
    return 0


@policy.command("test")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def policy_test(settings: Settings, as_json: bool) -> int:
    """Run the given/when/then cases against the policy as it lies in the home now. Exit status 1 when one fails or the set is not valid."""
    found = asyncio.run(fetch(settings, {"op": "policy", "do": "test"}))
    failed = [each for each in found["results"] if not each["ok"]]
    if as_json:
        print_json(found)
    else:
        for each in found["results"]:
            click.echo(f"{'ok  ' if each['ok'] else 'FAIL'}  {each['name']}" + ("" if each["ok"] else f"\n      {each['words']}"))
        click.echo(f"{len(found['results']) - len(failed)} of {len(found['results'])} cases hold.")
        if found["alarm"]:
            click.echo(found["alarm"], err=True)
    return 1 if failed or found["alarm"] else 0


@policy.command("reload")
@click.pass_obj
def policy_reload(settings: Settings) -> int:
    """Let a running Luthier read the home's policy anew. What waits for a yes under the old one is void. Exit status 1: the old stays."""
    found = asyncio.run(fetch(settings, {"op": "policy", "do": "reload"}))
    plain = "The policy was read anew." if found["ok"] else "The old policy stays in force."
    click.echo(found["words"] or plain, err=not found["ok"])
    click.echo(f"In force: {found['source']}, {found['hash'][:12]}")
    return 0 if found["ok"] else 1


@policy.command("explain", context_settings={"ignore_unknown_options": True})
@click.argument("tool", required=False)
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]…")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def policy_explain(settings: Settings, tool: str | None, arguments: tuple[str, ...], as_json: bool) -> int:
    """Which rule would decide a call of TOOL, and what would change it; nothing is done. Without TOOL: all rules and limits."""
    if tool is None:
        return _overview(settings)
    args = {"tool": tool, "arguments": pairs(arguments)}
    answer = asyncio.run(fetch(settings, {"op": "call", "tool": "explain_policy", "args": args}))
    if answer["status"] != "done":
        show_answer(answer)
        return EXIT[answer["status"]]
    if as_json:
        print_json(answer["result"])
    else:
        for line in lines_of(answer["result"]):
            click.echo(line)
    return 0


def lines_of(found: Mapping[str, Any]) -> list[str]:
    """An explanation in lines: the verdict, each effect's rule, what would change it."""
    needed = f" {found['quorum']} people must say yes." if found["quorum"] > 1 else ""
    lines = [f"{_WORDS[found['verdict']].capitalize()}.{needed}"]
    lines += [str(found[name]) for name in ("reason", "remedy") if found[name]]
    for each in found["effects"]:
        lines.append(f"\n{each['effect']}: {each['decision']}")
        lines += [f"  rule {rule['id']}: {rule['says']}" for rule in each["rules"]] or ["  no rule permits it"]
        lines += [f"  {each[name]}" for name in ("reason", "remedy") if each[name]]
    if found["changes"]:
        lines.append("\nWhat would change it:")
        lines += [f"  {change['fact']}: {_WORDS[change['verdict']]}" for change in found["changes"]]
    return [*lines, *(f"\n{note}" for note in (*found["notes"], found["policy"]["alarm"]) if note)]


def _overview(settings: Settings) -> int:
    own = settings.home / "policy"
    source = own if own.is_dir() and any(own.iterdir()) else settings.root / "policies"
    click.echo(f"Rules and limits from {source}\n")
    for path in sorted((source / "rules").glob("*.cedar")):
        click.echo(f"{path.stem.upper()}")
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("//"):
                click.echo(f"  {line.lstrip('/ ')}")
    click.echo("\nLIMITS")
    for line in (source / "limits.toml").read_text("utf-8").splitlines():
        click.echo(f"  {line}")
    return 0
