"""The terminal's commands about the home: secrets, messages, data, models."""

import asyncio
import getpass
import sys
from pathlib import Path

import click

from agent.secrets import SecretStore
from agent.settings import Settings
from ui.reach import fetch


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
def notify() -> None:
    """Messages to you outside Luthier when a run ends: desktop, e-mail or webhook."""


@notify.command("test")
@click.pass_obj
def notify_test(settings: Settings) -> int:
    """Send one message now, to the addresses that the secret NOTIFY holds."""
    click.echo(asyncio.run(fetch(settings, {"op": "notify"})))
    return 0


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
