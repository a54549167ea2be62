"""What a person needs to know of Azure when something does not work: installed, signed in, prepared, priced, orphans. Never raises."""

import importlib.util
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import JsonValue

from tools.azure.client import Azure
from tools.azure.place import PlaceStore
from tools.azure.prices import Prices
from tools.azure.trouble import AzureTrouble

Problem = dict[str, str]


class Checkup:
    """Facts for `doctor`."""

    def __init__(self, azure: Azure, prepared: PlaceStore, prices: Prices, orphaned: Callable[[], tuple[int, AzureTrouble | None]],
                 clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """`orphaned` counts what the book does not know, and says what kept it from looking."""
        self._azure, self._prepared, self._prices, self._orphaned, self._clock = azure, prepared, prices, orphaned, clock

    def facts(self, look: bool) -> tuple[dict[str, JsonValue], list[Problem]]:
        """Facts by name and what is wrong. Without `look` nothing is asked of Azure: only what this machine knows."""
        places = self._prepared.all()
        facts: dict[str, JsonValue] = {
            "installed": installed(), "prepared": [*(f"{each.region} in {each.group}" for each in places)],
            "images": [*sorted({each.image for each in places})], "prices": self._age(),
        }
        if not look or not facts["installed"]:
            missing: list[Problem] = [{"what": "The Azure packages are not installed", "remedy": "Run `make azure`."}] if look else []
            return facts, missing
        asked, problems = self._asked(bool(places))
        return facts | asked, problems

    def _asked(self, anything: bool) -> tuple[dict[str, JsonValue], list[Problem]]:
        try:
            account = self._azure.account()
        except AzureTrouble as trouble:
            return {"signed_in": ""}, [_problem(trouble)]
        facts: dict[str, JsonValue] = {
            "signed_in": account.user, "tenant": account.tenant, "subscription": f"{account.subscription_name} ({account.subscription})"}
        if not anything:
            return facts, []
        count, trouble = self._orphaned()
        if trouble is not None:
            return facts, [_problem(trouble)]
        unknown = {"what": f"{count} in Azure that bear Luthier's tags and stand in no book",
                   "remedy": "`list_orphans` shows them with their cost: adopt, stop or delete each."}
        return facts | {"orphans": count}, [unknown] if count else []

    def _age(self) -> str:
        read = self._prices.read_at()
        return "never read" if read is None else f"{(self._clock() - read).days} days old"


def installed() -> bool:
    """Whether the Azure packages are there; imports none of them."""
    try:
        return None not in (importlib.util.find_spec("azure.mgmt.appcontainers"), importlib.util.find_spec("azure.identity"))
    except ModuleNotFoundError:
        return False


def _problem(trouble: AzureTrouble) -> Problem:
    return {"what": f"{trouble.what}: {trouble.because}".rstrip(".:"), "remedy": trouble.try_next}
