"""`list_orphans`: what in Azure costs money or lies about without a reason, with what it has cost and what can be done about each."""

import re
from collections.abc import Callable, Iterable
from typing import ClassVar

from pydantic import JsonValue

from policies.limits import dollars
from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs
from tools.azure.orphans import Orphan, Orphans
from tools.azure.teardown import Resource

_NAMES = re.compile(r"luthier-(?:run|app)-[0-9a-z]{1,20}(?:-[0-9a-z]{1,12})?")
TOLD = 10


class ListOrphansArgs(ToolArgs):
    """Arguments of list_orphans: none."""


class ListOrphans:
    """The tool."""

    name: ClassVar[str] = "list_orphans"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "What in Azure carries this Luthier's tags and stands in no record of this home (orphans), with its cost so far, and the jobs and "
        "apps of ended runs that are past their expiry. Nothing of it is ever touched by itself: an orphan can be taken up with adopt_run, "
        "ended with stop_orphan, or deleted with teardown_cloud only=orphans name=NAME; what has expired with teardown_cloud only=expired."
    )
    Args: ClassVar[type[ToolArgs]] = ListOrphansArgs

    def __init__(self, orphans: Orphans, expired: Callable[[], Iterable[Resource]]) -> None:
        """`expired` gives what is past its expiry."""
        self._orphans, self._expired = orphans, expired

    def propose(self, args: ListOrphansArgs, /) -> Proposal:
        """A look."""
        return Proposal(effects=frozenset({Effect.READ}), target="orphans", where="Azure")

    def perform(self, args: ListOrphansArgs, call: Call, /) -> Result:
        """Every prepared place, as it is now. Raises AzureTrouble: a look that failed is not told as an empty list."""
        found, expired = self._orphans.look(fresh=True), [*self._expired()]
        old: list[JsonValue] = [each.as_json() for each in expired]
        told: list[JsonValue] = [_told(each) for each in found[:TOLD] if _NAMES.fullmatch(each.name)]
        return Result({"orphans": [each.as_json() for each in found], "expired": old},
                      {"orphans": told, "total": len(found), "expired": len(expired)})

    def recall(self, call_id: str, /) -> Result | Recall:
        """A look leaves nothing behind."""
        return Recall.NOT_STARTED


def _told(orphan: Orphan) -> dict[str, JsonValue]:
    """Names in our own form and numbers: what the brain may hear of it."""
    running = [name for name in orphan.running if _NAMES.fullmatch(name)]
    return {"name": orphan.name, "kind": orphan.kind, "region": orphan.region, "running": bool(orphan.running),
            "execution": running[0] if running and orphan.kind == "job" else "",
            "spent": None if orphan.spent_micros is None else dollars(orphan.spent_micros)}
