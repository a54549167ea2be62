"""The body of an inference app: what is sent to Azure, so that it is never open to the world and sleeps when nobody asks. Pure."""

import hashlib
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tools.azure.credential import Hidden
from tools.azure.names import Names, tags
from tools.azure.place import ENGINE_MOUNT, READ_ONLY, RUN_MOUNT, SECRETS_MOUNT, CloudPlace, Shape
from tools.azure.trouble import AzureTrouble

PORT = 8080
"""Where the serving program listens in its container."""
COOLDOWN_S = 300
"""An app that nobody has asked for so many seconds goes to sleep."""
PROBE_EVERY_S, PROBES = 90, 10
"""The startup probe waits a quarter of an hour in all: Azure knows at most ten failures, and a first start installs packages."""
TUNED_MOUNT, BASE_MOUNT = "/luthier/tuned", "/luthier/base"
"""Where the files of the tuned and of the untuned model lie in the container; both read-only."""
STATE_MOUNT = "/luthier/state"
"""Where the program may write: an empty folder of each replica."""
WIDEST = 16
"""Bits that every allowed network must fix: at most 65,536 addresses each; 0.0.0.0/0 is everybody."""
NEVER_SEEN = tuple(ipaddress.IPv4Network(each) for each in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3"))
"""Addresses within networks of one's own, and such as nobody has: no request from the internet ever comes from them."""
MOST_RULES = 20


@dataclass(frozen=True, slots=True)
class AppSpec:
    """One revision of one app."""

    deployment_id: str
    revision: int
    image: str
    """By digest."""
    shape: Shape
    spec_folder: str
    """On the share, with serve.json."""
    engine_folder: str
    """On the share: the engine package, content-addressed."""
    tuned_folder: str
    """On the share: the files of the model that is served first."""
    base_folder: str
    """On the share: those of the untuned model beside it; empty without one."""
    command: tuple[str, ...]
    allow: tuple[str, ...]
    """Networks (CIDR) whose requests are let in."""
    expires: str
    """ISO 8601 UTC."""
    canary_percent: int = 0
    """Share of the requests that this revision gets beside `canary_of`; 0: all."""
    canary_of: int = 0
    beside: tuple[tuple[int, int], ...] = ()
    """Revisions that get all requests, each with its percent, while this one comes up; empty: it gets its own share at once."""


def networks(given: Sequence[str]) -> tuple[str, ...]:
    """Addresses and networks as rules, each once. Raises AzureTrouble `policy` for none, for what is none, and for the whole world."""
    what, remedy = "The app was not deployed", "Name your public address: allow_ips=[\"203.0.113.7\"]; a network is written 203.0.113.0/24."
    if not given:
        raise AzureTrouble("policy", what, "it is not known which addresses may reach it, and it is never open to everybody.", remedy)
    found: list[str] = []
    for text in given:
        try:
            network = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            because = "one of the addresses in allow_ips is no IP address or network."
            raise AzureTrouble("policy", what, because, remedy, heard=text[:60]) from None
        if isinstance(network, ipaddress.IPv6Network):
            raise AzureTrouble("policy", what, f"{network} is an IPv6 network, and Azure's rules take IPv4 only.", remedy)
        if network.prefixlen < WIDEST:
            raise AzureTrouble("policy", what, f"{network} is so wide that the app would be open to the world.", remedy)
        if any(network.subnet_of(each) for each in NEVER_SEEN):
            raise AzureTrouble("policy", what, f"{network} is not an address on the internet: Azure never sees a request from there.",
                               f"Name the address by which your network is seen from outside. {remedy}")
        found.append(str(network))
    unique = tuple(dict.fromkeys(found))
    if len(unique) > MOST_RULES:
        raise AzureTrouble("policy", what, f"{len(unique)} networks were named; {MOST_RULES} are the most.", "Name fewer, wider ones.")
    return unique


def revision_name(app: str, revision: int) -> str:
    """What Azure calls a revision."""
    return f"{app}--r{revision}"


def revision_number(name: str) -> int:
    """The number of a revision that Azure names; 0 where the name is none of ours."""
    number = name.rpartition("--r")[2]
    return int(number) if number.isdigit() else 0


def body(place: CloudPlace, names: Names, workspace: str, spec: AppSpec, key: Hidden) -> dict[str, Any]:
    """What is sent. Raises AzureTrouble `policy` when nothing says who may reach it, `not_prepared` for an image without a digest."""
    networks(spec.allow)
    if "@sha256:" not in spec.image:
        raise AzureTrouble("not_prepared", "The app was not deployed", "its image was never resolved to a digest.",
                           "Run prepare_cloud again: apps run by digest only.")
    properties = {
        "environmentId": place.environment_id,
        "workloadProfileName": spec.shape.name,
        "configuration": {
            "activeRevisionsMode": "Multiple" if spec.canary_percent or spec.beside else "Single",
            "secrets": [{"name": "api-key", "value": key.reveal()}],
            "ingress": {
                "external": True, "targetPort": PORT, "transport": "auto", "allowInsecure": False,
                "ipSecurityRestrictions": [
                    {"name": f"luthier-{at}", "description": "allowed by the approval", "ipAddressRange": network, "action": "Allow"}
                    for at, network in enumerate(spec.allow, 1)],
                "traffic": _traffic(names, spec),
            },
        },
        "template": _template(spec),
    }
    # Never the tag of the run: the bill would count what serving costs as the run's.
    marked = tags(workspace, expires=spec.expires, spec=digest(properties), deployment=spec.deployment_id)
    return {"location": place.region, "tags": marked, "properties": properties}


def _traffic(names: Names, spec: AppSpec) -> list[dict[str, Any]]:
    if spec.beside:
        app = names.app(spec.deployment_id)
        return [{"revisionName": revision_name(app, revision), "weight": percent} for revision, percent in spec.beside]
    if not spec.canary_percent:
        return [{"latestRevision": True, "weight": 100}]
    before = revision_name(names.app(spec.deployment_id), spec.canary_of)
    return [{"revisionName": before, "weight": 100 - spec.canary_percent}, {"latestRevision": True, "weight": spec.canary_percent}]


def _template(spec: AppSpec) -> dict[str, Any]:
    mounts = {"RUN": (RUN_MOUNT, spec.spec_folder), "ENGINE": (ENGINE_MOUNT, spec.engine_folder), "TUNED": (TUNED_MOUNT, spec.tuned_folder)}
    if spec.base_folder:
        mounts["BASE"] = (BASE_MOUNT, spec.base_folder)
    environment = {**{name: path for name, (path, _) in mounts.items()}, "SECRETS": SECRETS_MOUNT}
    container = {
        "name": "serve", "image": spec.image, "command": [spec.command[0]], "args": list(spec.command[1:]),
        "env": [{"name": f"LUTHIER_{name}", "value": value} for name, value in environment.items()],
        "resources": {"cpu": spec.shape.vcpu, "memory": f"{spec.shape.gib:g}Gi"},
        "volumeMounts": [
            *({"volumeName": "share", "mountPath": path, "subPath": folder} for path, folder in mounts.values()),
            {"volumeName": "secrets", "mountPath": SECRETS_MOUNT}, {"volumeName": "state", "mountPath": STATE_MOUNT},
        ],
        "probes": [{"type": "Startup", "httpGet": {"path": "/healthz", "port": PORT, "scheme": "HTTP"}, "periodSeconds": PROBE_EVERY_S,
                    "timeoutSeconds": 10, "failureThreshold": PROBES}],
    }
    return {
        "revisionSuffix": f"r{spec.revision}", "containers": [container],
        "scale": {"minReplicas": 0, "maxReplicas": 1, "cooldownPeriod": COOLDOWN_S},
        # The share is read-only here: whoever gets into an exposed program can change no run and no engine.
        "volumes": [{"name": "share", "storageType": "AzureFile", "storageName": READ_ONLY, "mountOptions": "nobrl"},
                    {"name": "secrets", "storageType": "Secret", "secrets": [{"secretRef": "api-key", "path": "api-key"}]},
                    {"name": "state", "storageType": "EmptyDir"}],
    }


def digest(properties: dict[str, Any]) -> str:
    """The digest of what is sent, without the key: for the tag by which a second sending is spared."""
    configuration = {name: value for name, value in properties["configuration"].items() if name != "secrets"}
    text = json.dumps({**properties, "configuration": configuration}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
