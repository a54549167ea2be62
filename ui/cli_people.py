"""The terminal's commands about the people of a home."""

import asyncio
from collections.abc import Mapping
from typing import Any

import click

from agent.settings import Settings
from ui.reach import fetch
from ui.terminal import print_json

ROLES = "viewer, member, approver, owner, auditor, service"


@click.group()
def people() -> None:
    """Who may do what here. A second active person ends solo mode: nobody then approves their own spending."""


@people.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def people_list(settings: Settings, as_json: bool) -> int:
    """Everybody, with role and linked accounts."""
    found = asyncio.run(fetch(settings, {"op": "people", "do": "list"}))
    if as_json:
        print_json(found)
        return 0
    for each in found:
        click.echo(line_of_person(each))
    return 0


@people.command("add")
@click.argument("person", metavar="ID")
@click.option("--name", default="", help="How the person is called; by default the id.")
@click.option("--role", default="", help=f"One of {ROLES}; by default member.")
@click.option("--service", is_flag=True, help="A program's account: it proposes, and never decides or signs in.")
@click.pass_obj
def people_add(settings: Settings, person: str, name: str, role: str, service: bool) -> int:
    """Add a person, or a service account. A person signs in with the link of `python -m ui people link ID`."""
    request = {"op": "people", "do": "add", "person": person, "name": name, "role": role or ("service" if service else "member"),
               "kind": "service" if service or role == "service" else "human"}
    click.echo(line_of_person(asyncio.run(fetch(settings, request))))
    return 0


@people.command("set")
@click.argument("person", metavar="ID")
@click.option("--role", default=None, help=f"One of {ROLES}.")
@click.option("--active/--inactive", "active", default=None, help="Switch the person on or off; what waits of theirs is judged again.")
@click.pass_obj
def people_set(settings: Settings, person: str, role: str | None, active: bool | None) -> int:
    """Change a person's role, or switch them off. It counts from the next decision on, for what was approved before as well."""
    if role is None and active is None:
        raise click.UsageError("Say what to change: --role ROLE, --active or --inactive.")
    request = {"op": "people", "do": "set", "person": person, "role": role, "active": active}
    click.echo(line_of_person(asyncio.run(fetch(settings, request))))
    return 0


@people.command("link")
@click.argument("person", metavar="ID")
@click.pass_obj
def people_link(settings: Settings, person: str) -> int:
    """Print a sign-in link for a person: it works once, for ten minutes. Give it to nobody else."""
    found = asyncio.run(fetch(settings, {"op": "link", "person": person}))
    click.echo(f"{found['url']}/enter?t={found['token']}")
    return 0


@people.command("unlink")
@click.argument("provider")
@click.argument("subject")
@click.pass_obj
def people_unlink(settings: Settings, provider: str, subject: str) -> int:
    """Forget a linked account of a chat service, as `people list` shows it."""
    asyncio.run(fetch(settings, {"op": "people", "do": "unlink", "provider": provider, "subject": subject}))
    click.echo(f"{provider} {subject} is linked to nobody now.")
    return 0


def line_of_person(person: Mapping[str, Any]) -> str:
    """One person on one line."""
    linked = ", ".join(f"{each['provider']} {each['subject']}" for each in person["identities"])
    parts = [person["id"], person["role"], "" if person["active"] else "inactive", person["name"], f"linked: {linked}" if linked else ""]
    return "\t".join(part for part in parts if part)
