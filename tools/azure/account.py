"""Who is signed in to Azure, and which of the subscriptions is worked in."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tools.azure.credential import bearer
from tools.azure.trouble import AzureTrouble


@dataclass(frozen=True, slots=True)
class Account:
    """Who is signed in, and the subscription that is worked in."""

    user: str
    tenant: str
    subscription: str
    subscription_name: str
    others: tuple[tuple[str, str], ...] = ()
    """Id and name of the other subscriptions of the sign-in."""

    @property
    def digest(self) -> str:
        """Of who it is and where: an approval binds it, so that a yes given for one account starts nothing as another."""
        return hashlib.sha256(f"{self.user}|{self.tenant}|{self.subscription}".encode()).hexdigest()[:16]


def account_of(said: Mapping[str, str], listed: Iterable[Mapping[str, Any]], chosen: str) -> Account:
    """The account of a token's claims, in the subscription that was chosen, or in its only one.

    Raises AzureTrouble, `denied` when it can use none, `signin` when several can be used or the chosen one cannot.
    """
    every = {str(each["subscriptionId"]): each for each in listed}
    usable = {key: each for key, each in every.items() if _state(each) in ("enabled", "warned", "pastdue")}
    wanted = chosen.lower() or (next(iter(usable)).lower() if len(usable) == 1 else "")
    names = ", ".join(f"{_name(each)} ({key})" for key, each in usable.items()) or "none"
    user = bearer(said)
    mine = next((key for key in every if key.lower() == wanted), None)
    if mine is not None and mine not in usable:
        raise AzureTrouble("denied", f"The subscription {mine} cannot be used", f"Azure calls it {_state(every[mine])}.",
                           "Have its owner enable it again in the portal, or set LUTHIER_AZURE_SUBSCRIPTION to another one"
                           f" ({user} can use: {names}).")
    if not usable:
        asleep = ", ".join(f"{_name(each)} ({key}, {_state(each)})" for key, each in every.items())
        found = f"{user} can use none{f'; not in use: {asleep}' if asleep else ''}."
        raise AzureTrouble("denied", "There is no subscription to work in", found,
                           "Have its owner enable it again in the portal." if asleep else
                           "Ask the owner of a subscription for the role Contributor on a resource group in it.")
    if not wanted:
        raise AzureTrouble("signin", "There are several subscriptions", f"{user} can use: {names}.",
                           "Set LUTHIER_AZURE_SUBSCRIPTION to the id of the one to work in, and start Luthier again.")
    if mine is None:
        raise AzureTrouble("signin", f"The subscription {wanted} cannot be used", f"{user} can use: {names}.",
                           "Correct LUTHIER_AZURE_SUBSCRIPTION, or sign in with an account that may use it.")
    others = tuple((key, _name(each)) for key, each in usable.items() if key != mine)
    return Account(user, str(usable[mine].get("tenantId") or said.get("tid", "")), mine, _name(usable[mine]), others)


def _state(listed: Mapping[str, Any]) -> str:
    return str(listed.get("state", "Enabled")).lower()


def _name(listed: Mapping[str, Any]) -> str:
    return str(listed.get("displayName") or "")
