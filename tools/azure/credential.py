"""Who we are to Azure: the credential that was chosen, what its token says, and a type that shows nobody its value."""

import base64
import json
import logging
from collections.abc import Mapping
from typing import Any

from tools.azure.choice import AzureChoice
from tools.azure.trouble import AzureTrouble

ARM_SCOPE = "https://management.azure.com/.default"
_NAMED = ("upn", "preferred_username", "unique_name", "email")


class Hidden:
    """A key or a token. It is shown by nothing that prints; `reveal` is for the request that needs it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value, to be used at once and kept nowhere."""
        return self._value

    def __repr__(self) -> str:
        return "Hidden(…)"

    def __reduce__(self) -> Any:
        raise TypeError("a hidden value is not written anywhere")


def credential(choice: AzureChoice) -> Any:
    """The credential of azure-identity that `LUTHIER_AZURE_SIGN_IN` names. Raises AzureTrouble `not_installed`."""
    try:
        import azure.identity as identity
    except ImportError as missing:
        raise not_installed() from missing
    # It warns of each way to sign in that is not there; what is told of all that is one sentence.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    match choice.sign_in:
        case "cli":
            return identity.AzureCliCredential()
        case "workload":
            try:
                return identity.WorkloadIdentityCredential()
            except ValueError as unset:
                raise AzureTrouble("signin", "Not signed in to Azure", "this machine has no workload identity.",
                                   "Set LUTHIER_AZURE_SIGN_IN to the credential that it has (cli, managed), or leave it out.") from unset
        case "managed":
            return identity.ManagedIdentityCredential()
        case "default":
            return identity.DefaultAzureCredential()


def not_installed() -> AzureTrouble:
    """The client libraries are an extra, and are not here."""
    return AzureTrouble("not_installed", "Azure cannot be used yet", "its client libraries are not installed.",
                        "Run `make azure`, and start Luthier again.")


def claims(token: str) -> dict[str, str]:
    """What a token says of its bearer, for showing only: its signature is Azure's to check. Empty when it cannot be read."""
    try:
        body = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def bearing(said: Mapping[str, str]) -> tuple[str, ...]:
    """What of a token's claims tells one sign-in from another."""
    return (*(said.get(name, "") for name in ("tid", "oid", "sub", "appid")), bearer(said))


def bearer(said: Mapping[str, str]) -> str:
    """The person or the application that a token's claims name."""
    for name in _NAMED:
        if said.get(name):
            return said[name]
    application = said.get("appid") or said.get("azp")
    return f"application {application}" if application else said.get("oid", "unknown account")
