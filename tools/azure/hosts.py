"""The hosts that may be spoken to: fixed suffixes in Azure, nothing but this machine where a stand-in takes its place."""

import ipaddress
from typing import Literal
from urllib.parse import urlsplit

from tools.azure.choice import AzureChoice
from tools.azure.trouble import AzureTrouble

HostKind = Literal["arm", "files", "logs", "apps", "prices", "registry"]
_APPS = (".azurecontainerapps.dev", ".azurecontainerapps.io")
_SUFFIXES: dict[HostKind, tuple[str, ...]] = {
    "arm": ("management.azure.com",), "files": (".file.core.windows.net",), "logs": _APPS, "apps": _APPS, "prices": ("prices.azure.com",),
}
DOCKER_HUB = "docker.io"
_HUB_HOSTS = ("registry-1.docker.io", "auth.docker.io")


def check_host(choice: AzureChoice, url: str, kind: HostKind) -> str:
    """The url, when it is https, without a user name, and on a host of its kind. Raises AzureTrouble `refused_host`."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    plain = parts.scheme == "https" and host and not parts.username and not parts.password and "\\" not in url
    if plain and choice.endpoint and is_loopback(host):
        return url
    if plain and not choice.endpoint and _port_of(url) in (None, 443) and _allowed(choice, host, kind):
        return url
    wanted = "this machine, by https" if choice.endpoint else f"https on {' or '.join(_wanted(choice, kind))}"
    raise AzureTrouble("refused_host", f"The address {_short(url)} is not used", f"for {kind} only {wanted} is spoken to.",
                       "If Azure really gave this address, report it with the resource it came from.")


def is_loopback(host: str) -> bool:
    """Whether only this machine answers under the host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def registry_of(image: str) -> str:
    """The registry's host in an image's name; Docker Hub where none is written."""
    first, slash, _ = image.partition("/")
    return first.lower() if slash and ("." in first or ":" in first or first == "localhost") else DOCKER_HUB


def _wanted(choice: AzureChoice, kind: HostKind) -> tuple[str, ...]:
    if kind != "registry":
        return _SUFFIXES[kind]
    registry = registry_of(choice.image)
    return _HUB_HOSTS if registry == DOCKER_HUB else (registry,)


def _allowed(choice: AzureChoice, host: str, kind: HostKind) -> bool:
    return any(host.endswith(each) if each.startswith(".") else host == each for each in _wanted(choice, kind))


def _port_of(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return -1


def _short(url: str) -> str:
    """Without its query, which may be signed."""
    shown = url.split("?", maxsplit=1)[0]
    return shown if len(shown) <= 120 else f"{shown[:120]}…"
