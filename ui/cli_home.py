"""The terminal's commands about the home: audit, secrets, data, models, policy."""

import asyncio
import getpass
import shutil
import subprocess
import sys
from pathlib import Path

import click

from agent.secrets import SecretStore
from agent.settings import Settings
from policies.tool import ToolFailed
from ui.reach import fetch


@click.group()
def audit() -> None:
    """The record of every call."""


@audit.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def verify(settings: Settings, options: tuple[str, ...]) -> int:
    """Check the record with the stand-alone verifier, which imports nothing of Luthier: 0 intact, 1 tampered, 2 gaps, 3 unreadable."""
    program = settings.root / "policies" / "audit" / "verify.py"
    return subprocess.run([sys.executable, "-I", str(program), str(settings.home / "book.sqlite"), *options], check=False).returncode


@click.group()
def secret() -> None:
    """Keys and tokens, kept in the system's keyring or in files that only you can read."""


def _store(settings: Settings) -> SecretStore:
    return SecretStore(settings.home / "secrets")


@secret.command("set")
@click.argument("name")
@click.pass_obj
def secret_set(settings: Settings, name: str) -> int:
    """Keep a secret. The value is asked for without showing it, or read from standard input; never from the command line."""
    value = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.readline()
    store = _store(settings)
    store.set(name, value)
    click.echo(f"{name} is kept in {store.where}.")
    return 0


@secret.command("list")
@click.pass_obj
def secret_list(settings: Settings) -> int:
    """The names of what is kept; never the values."""
    for name in _store(settings).list():
        click.echo(name)
    return 0


@secret.command("remove")
@click.argument("name")
@click.pass_obj
def secret_remove(settings: Settings, name: str) -> int:
    """Forget a secret."""
    known = _store(settings).remove(name)
    click.echo(f"{name} is forgotten." if known else f"{name} was not kept.")
    return 0 if known else 1


@click.group()
def data() -> None:
    """Datasets."""


@data.command("add")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", default="", help="The dataset's name; by default the file's.")
@click.pass_obj
def data_add(settings: Settings, path: Path, name: str) -> int:
    """Register a file from anywhere on this machine. Asks for an approval, as every import does."""
    args = {"path": str(path.expanduser().absolute()), **({"name": name} if name else {})}
    answer = asyncio.run(fetch(settings, {"op": "call", "tool": "add_dataset", "args": args}))
    return _told(answer, f"Registered {answer['result'].get('dataset')}: {answer['result'].get('rows')} rows.")


@data.command("list")
@click.pass_obj
def data_list(settings: Settings) -> int:
    """References that a dataset can be named by: registered ones, and the files in the allowed folders."""
    for row in asyncio.run(fetch(settings, {"op": "datasets"})):
        click.echo(f"{row['id']}\t{row['rows']} rows")
    for folder in settings.data_folders():
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                click.echo(f"{folder.name}/{path.relative_to(folder)}")
    return 0


@click.group()
def model() -> None:
    """Models."""


@model.command("add")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", default="", help="The model's id; by default the folder's name.")
@click.pass_obj
def model_add(settings: Settings, path: Path, name: str) -> int:
    """Register a folder with a model: config.json, *.safetensors and a tokenizer."""
    found = asyncio.run(fetch(settings, {"op": "add_model", "path": str(path.expanduser().absolute()), "name": name}))
    click.echo(f"Registered {found['id']}.")
    return 0


@model.command("list")
@click.pass_obj
def model_list(settings: Settings) -> int:
    """The models that can be tuned."""
    answer = asyncio.run(fetch(settings, {"op": "call", "tool": "list_models", "args": {}}))
    if answer["status"] == "done":
        for each in answer["result"]["models"]:
            here = "here" if each.get("offline") else "to be fetched"
            click.echo(f"{each['id']}\t{each.get('parameters') or '?'} parameters\t{each.get('license') or '?'}\t{here}")
    return _told(answer, "")


@click.group()
def policy() -> None:
    """Who may do what, and how much."""


@policy.command("init")
@click.pass_obj
def policy_init(settings: Settings) -> int:
    """Copy the shipped rules and limits into the home, to be edited there. They then count instead of the shipped ones, as a whole."""
    target, shipped = settings.home / "policy", settings.root / "policies"
    if target.is_dir() and any(target.iterdir()):
        raise ToolFailed("Nothing was copied", f"{target} holds a policy already.", "Edit it there, or move it away first.")
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copytree(shipped / "rules", target / "rules")
    shutil.copy2(shipped / "limits.toml", target / "limits.toml")
    click.echo(f"Copied to {target}. Restart Luthier after editing; a set that does not validate permits nothing but reading.")
    return 0


@policy.command("explain")
@click.pass_obj
def policy_explain(settings: Settings) -> int:
    """Which rules and limits count, in their own words."""
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


def _told(answer: dict[str, object], done: str) -> int:
    match answer["status"]:
        case "done":
            if done:
                click.echo(done)
            return 0
        case "waiting":
            approval = answer["approval"]
            assert isinstance(approval, dict)
            click.echo(f"Waiting for a decision: python -m ui approve {approval['id']}")
            return 3
        case status:
            click.echo(f"{answer['reason']} {answer['remedy']}".strip(), err=True)
            return 4 if status == "refused" else 1
