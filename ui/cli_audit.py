"""The terminal's commands about the record: verify it, show it, prove it, export it, and keep its keys."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agent.settings import Settings
from agent.verifier import verifier
from agent.wreck import examine_wreck
from policies.tool import ToolFailed
from ui.cards import moment
from ui.reach import fetch
from ui.terminal import line_of, print_json

FORMATS = ("jsonl", "ocsf", "cloudevents")


@click.group()
def audit() -> None:
    """The record of everything that was proposed, judged, decided, done and paid."""


@audit.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def verify(settings: Settings, options: tuple[str, ...]) -> int:
    """Check the record with the stand-alone verifier, which imports nothing of Luthier: 0 intact, 1 tampered, 2 gaps, 3 unreadable.

    Its options: --from N, --to N, --checkpoint FILE, --pubkey FILE, --expect SEQ:HASH, --strict. A cut tail shows only against a
    checkpoint that was kept elsewhere; and only a key that you already had proves who signed.
    """
    status = subprocess.run(verifier(settings.root, settings.home, options), check=False).returncode
    if status == 0:
        _note(settings, status)
    return status


@audit.command()
@click.argument("identity", metavar="[ID]", default="")
@click.option("--trace", default="", help="The trace id of a story; the same as ID.")
@click.option("--run", "run_", default="", help="Only records of this run.")
@click.option("--person", default="", help="Only what this person did.")
@click.option("--tool", default="", help="Only calls of this tool.")
@click.option("--decision", default="", help="Only allow, ask or deny.")
@click.option("--kind", default="", help="Only intent, outcome, decision, approval, policy, auth or admin.")
@click.option("--limit", default=50, type=click.IntRange(1, 500), help="How many, the newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as they are, one JSON object a line.")
@click.pass_obj
def show(settings: Settings, identity: str, trace: str, run_: str, limit: int, as_json: bool, **asked: str) -> int:
    """One story (ID: a call, an approval, a run, a trace, or a record's number), or the newest records."""
    wanted = identity or trace
    if wanted.isdigit() and len(wanted) < 8:
        found = _fetch(settings, do="record", seq=int(wanted))
        records = [] if found is None else [found]
    elif wanted:
        records = _fetch(settings, do="story", id=wanted)
    else:
        records = _fetch(settings, do="search", asked={**asked, "run": run_}, limit=limit)
    if not records:
        click.echo("No such records.", err=True)
        return 1
    for record in records:
        print_json(record) if as_json else click.echo("\n".join(record_lines(record, whole=bool(wanted))))
    return 0


@audit.command()
@click.argument("seq", type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def prove(settings: Settings, seq: int, as_json: bool) -> int:
    """Prove that a record lies in the log that the last checkpoint signs: leaf, path and the signed note."""
    found = _fetch(settings, do="prove", seq=seq)
    if as_json:
        print_json(found)
        return 0
    click.echo(f"Record {found['seq']} is in the tree of {found['size']} records.\nleaf  {found['leaf']}")
    for step in found["path"]:
        click.echo(f"path  {step}")
    click.echo(f"root  {found['root']}\n\nThe signed checkpoint:\n{found['note']}")
    return 0


@audit.command()
@click.option("--format", "kind", type=click.Choice(FORMATS), default="jsonl", help="What the records are written as.")
@click.option("--since", default="", help="A record's number, a date, or a time in UTC; by default everything.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="The folder to write into; by default here.")
@click.pass_obj
def export(settings: Settings, kind: str, since: str, out: Path) -> int:
    """Write the record out, with a signed digest that names the digest of the export before it."""
    found = _fetch(settings, do="export", folder=str(out.expanduser().absolute()), format=kind, since=since)
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' ')}: {line_of(value)}")
    return 0


@audit.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def fsck(settings: Settings, as_json: bool) -> int:
    """Look for intents without an outcome, calls without a record and checkpoints that disagree. Exit status 1 when there are any."""
    try:
        found = _fetch(settings, do="fsck")
    except ToolFailed as failed:
        if failed.kind != "book":
            raise
        found = [{"kind": "book", "seq": None, "text": each} for each in examine_wreck(settings.home / "book.sqlite")]
    if as_json:
        print_json(found)
    for each in found if not as_json else ():
        click.echo(each["text"] if each["kind"] == "book" else line_of(each))
    if not found and not as_json:
        click.echo("Every intent has its outcome, and every checkpoint agrees.")
    return 1 if found else 0


@audit.command()
@click.argument("seq", type=click.IntRange(1))
@click.option("--yes", is_flag=True, help="Do not ask again.")
@click.pass_obj
def erase(settings: Settings, seq: int, yes: bool) -> int:
    """Erase the original arguments behind a record and their salt, for good. The record and the chain stay valid."""
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("This is no terminal, so nobody can be asked. Add --yes to erase exactly this.")
        if not click.confirm(f"Erase the original arguments of record {seq} for good?", default=False):
            return 0
    found = _fetch(settings, do="erase", seq=seq)
    done, none = f"The original arguments of record {seq} are erased.", f"Record {seq} has no original arguments any more."
    click.echo(done if found["erased"] else none)
    return 0


@audit.command()
@click.pass_obj
def rotate(settings: Settings) -> int:
    """Sign from now on with a new key. The change is a record that both keys sign; keep the new public key elsewhere too."""
    found = _fetch(settings, do="rotate")
    click.echo(f"The key is now {found['key_id']}. Its public half: {found['public_key_file']}")
    return 0


@audit.command()
@click.pass_obj
def key(settings: Settings) -> int:
    """The key that signs the checkpoints: its id, its public half and where that lies. Keep a copy where this machine cannot write."""
    found = _fetch(settings, do="key")
    click.echo(f"{found['key_id']}\n{found['public_key']}\n{found['public_key_file']}")
    return 0


def record_lines(record: Mapping[str, Any], *, whole: bool) -> list[str]:
    """A record on one line, and with `whole` what it holds on more."""
    tool, policy = record["tool"]["name"] or "", record["policy"]["decision"] or ""
    what = f"{record['kind']}.{record['event']}"
    head = f"{record['seq']:>6}  {moment(record['ts'])}  {what:<22} {tool:<18} {policy:<6} {record['actor']['sub']}"
    if not whole:
        return [head.rstrip()]
    facts = {name: found for name in ("policy", "approval", "cost", "result", "refs") if (found := _known(record[name]))}
    lines = [head.rstrip(), *(f"        {name}: {line_of(found)}" for name, found in facts.items())]
    for name in ("args", "detail"):
        if record[name]:
            lines.append(f"        {name}: {json.dumps(record[name], ensure_ascii=False)}")
    return lines


def _known(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value not in (None, [], "")}


def _note(settings: Settings, status: int) -> None:
    """Write the verification into the record; a home that cannot be opened has been verified all the same."""
    try:
        _fetch(settings, do="verified", status=status)
    except (ToolFailed, OSError) as error:
        click.echo(f"(The verification was not noted in the record: {error})", err=True)


def _fetch(settings: Settings, **request: Any) -> Any:
    return asyncio.run(fetch(settings, {"op": "audit", **request}))


