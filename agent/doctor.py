"""What `doctor` says: settings, brain, environments and what is missing, each with its remedy; never a secret's value."""

import shutil
import sys
from collections.abc import Mapping
from typing import Any

from agent import notifying
from agent.brain.brain import Brain
from agent.brain.choose import offers
from agent.door import Door
from agent.records import Records
from agent.rulebook import Rulebook
from agent.settings import unknown_settings


def examine(door: Door, brain: Brain, records: Records, rulebook: Rulebook, cloud: bool = False) -> dict[str, Any]:
    """Facts by name, and `problems`: (what, remedy) pairs, the first to be mended first. Azure is asked only with `cloud`."""
    settings, places = door.settings, door.places
    policy, record = rulebook.state(), records.state()
    problems: list[dict[str, str]] = []
    if policy["alarm"]:
        problems.append({"what": policy["alarm"], "remedy": "`python -m ui policy test` says what is wrong with the files."})
    for each in record["witnesses"]:
        if each["error"]:
            problems.append({"what": f"The witness {each['witness']} has no copy of the record: {each['error']}",
                             "remedy": "Runs and chats go on; mend it so that nobody could rewrite the record unseen."})
    environments = door.toolbox.environments()
    for each in environments:
        if each["problem"]:
            more = f" It needs {each['needs_bytes'] / 1e9:.1f} GB." if each["needs_bytes"] else ""
            problems.append({"what": f"The training environment {each['name']}: {each['problem']}{more}",
                             "remedy": f"Run `{each['command']}`."})
    if not places.bundled_model.is_dir():
        problems.append({"what": f"The bundled model is missing: {places.bundled_model}", "remedy": "Run `make run` once; it prepares it."})
    if brain.problem:
        problems.append({"what": brain.problem, "remedy": "The command assistant answers meanwhile."})
    for name in unknown_settings():
        problems.append({"what": f"{name} is no setting of Luthier", "remedy": "Check the spelling; README.md lists the settings."})
    azure, wrong = door.toolbox.cloud_facts(cloud)
    problems += wrong
    problems += notifying.problems(door.book, door.secrets, settings.notify)
    free = shutil.disk_usage(settings.home).free
    if free < 5 * 1024**3:
        problems.append(
            {"what": f"Only {free / 1024**3:.1f} GiB are free where {settings.home} lies", "remedy": "Make room, or set LUTHIER_HOME."}
        )
    return {
        "ok": not problems,
        "problems": problems,
        "python": ".".join(map(str, sys.version_info[:3])),
        "home": str(settings.home),
        "address": f"{settings.host}:{settings.port}",
        "public_url": settings.public_url,
        "data": [str(each) for each in settings.data_folders()],
        "brain": brain.name,
        "offers": list(offers(settings, door.secrets)),
        "secrets": {"where": door.secrets.where, "names": list(door.secrets.list())},
        "accelerator": places.accelerator,
        "engine_python": str(places.engine_python),
        "environments": [_environment(each) for each in environments],
        "azure": dict(azure),
        "solo": door.people.solo(),
        "solo_note": "One person lives here: they may approve their own proposals."
        if door.people.solo()
        else "Requests are approved by someone else.",
        "policy": policy,
        "record": record | {"witnesses": [f"{each['witness']}: the first {each['size']} records" for each in record["witnesses"]]},
        "notify": settings.notify if notifying.SECRET in door.secrets.list() else "no address is kept",
        "approvals_waiting": len(door.gateway.pending()),
        "disk_free_bytes": free,
        "tools": sorted(door.toolbox.tools),
    }


def _environment(each: Mapping[str, Any]) -> str:
    """One training environment: how big it is, or how big it would be and what makes it."""
    if each["there"]:
        return f"{each['name']}: there, {each['bytes'] / 1e9:.1f} GB"
    size = f", needs {each['needs_bytes'] / 1e9:.1f} GB" if each["needs_bytes"] else ""
    return f"{each['name']}: not there{size}: `{each['command']}` makes it"
