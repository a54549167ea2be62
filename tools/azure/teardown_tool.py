"""`teardown_cloud`: takes away what Luthier made in Azure, or only what has expired, or only what the book does not know."""

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar, Literal, Protocol

from pydantic import Field, JsonValue

from policies.limits import dollars
from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.azure.client import Azure
from tools.azure.place import CloudPlace, PlaceStore
from tools.azure.teardown import Resource, Teardown
from tools.azure.trouble import AzureTrouble

LINES = 30
"""Most lines of resources on a card."""
SETTLE_S = 300.0
"""How long the runs may take to end in the book before their jobs are deleted."""
Only = Literal["", "expired", "orphans"]


class TeardownArgs(ToolArgs):
    """Arguments of teardown_cloud."""

    resource_group: str = Field(default="", max_length=90, description="The group; left out, the only prepared one.")
    confirm: str = Field(default="", max_length=90, description="The group's name once more, as the person typed it. Not for only=….")
    only: Only = Field(default="", description="expired: ended runs past their expiry; orphans: what the book does not know.")
    name: str = Field(default="", max_length=32, pattern=r"^$|^luthier-(run|app)-[a-z0-9]{1,20}$",
                      description="With only=orphans: just this job or app, as list_orphans names it.")


class Runs(Protocol):
    """What is asked of the runs in a region."""

    def of_region(self, region: str, /) -> list[str]:
        """Ids of every run that was there."""
        ...

    def alive(self, region: str, /) -> list[str]:
        """Ids of those that go on."""
        ...

    def stop(self, run_id: str, by: str, /) -> None:
        """Ask for its end."""
        ...

    def settled_micros(self, run_id: str, /) -> int:
        """What is settled of it."""
        ...

    def forget(self, run_id: str, by: str, /) -> None:
        """Its job is gone: say so in the book, if that knows it."""
        ...

    def only_there(self, region: str, /) -> list[str]:
        """Ids of ended runs whose results are not all here."""
        ...


class Deployments(Protocol):
    """What is asked of the deployments in a region."""

    def of_region(self, region: str, /) -> list[str]:
        """Ids of those that are not deleted."""
        ...

    def alive(self, region: str, /) -> list[str]:
        """Ids of those that may answer or start."""
        ...

    def stop(self, ident: str, by: str, /) -> None:
        """Stop one; it is stopped afterwards, or AzureTrouble."""
        ...

    def settled_micros(self, ident: str, /) -> int:
        """What is settled of it."""
        ...

    def forget(self, ident: str, by: str, /) -> None:
        """Its app is gone: say so in the book."""
        ...


class TeardownCloud:
    """The tool."""

    name: ClassVar[str] = "teardown_cloud"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Delete what Luthier made in an Azure resource group: runs and deployments are stopped, then everything with this Luthier's tags "
        "is deleted, the share with its files too, and what is left is told. The person must type the group's name, which goes into "
        "confirm. "
        "only=expired deletes just the jobs and apps of ended runs past their expiry, only=orphans just those that the book does not know, "
        "or with name just the one. A person must approve it."
    )
    Args: ClassVar[type[ToolArgs]] = TeardownArgs

    def __init__(self, azure: Azure, places: PlaceStore, runs: Runs, deployments: Deployments,
                 clock: Callable[[], datetime] = lambda: datetime.now(UTC), settle_s: float = SETTLE_S) -> None:
        self._azure, self._places, self._runs, self._deployments = azure, places, runs, deployments
        self._clock, self._settle_s = clock, settle_s
        self._at_work: set[str] = set()

    def propose(self, args: TeardownArgs, /) -> Proposal:
        """The list of what goes, with what it has cost. ToolFailed without a prepared group, or unless its name was typed."""
        if args.name and args.only != "orphans":
            raise ToolFailed(f"Delete {args.name}", "Only an orphan is deleted alone.",
                             "Say only=orphans with it; a run's job goes with only=expired, a deployment with stop_deployment delete=true.",
                             kind="usage")
        place = self._place_of(args)
        chosen, left = self._chosen(place, args.only, args.name)
        if not args.only and args.confirm != place.group:
            said = f"{args.confirm!r} was typed" if args.confirm else "its name was not typed"
            raise ToolFailed(f"Tear down {place.group}", f"{_count(chosen)} would be deleted for good, and {said}.",
                             f"Type the group's name to go on: confirm={place.group}.", kind="confirm")
        if args.only and not chosen:
            what = "past its expiry" if args.only == "expired" else "unknown to the book"
            found = f"Nothing there that is {what} has the name {args.name}." if args.name else f"Nothing there is {what}."
            remedy = "list_orphans shows what is." if args.name else "There is nothing to do."
            raise ToolFailed(f"Clear up {place.group}", found, remedy, kind="nothing")
        goes = [f"{each.kind} {each.name}" for each in chosen]
        # A yes covers the list that was on the card: with another one it is void.
        digest = hashlib.sha256("\n".join(goes).encode()).hexdigest()[:16]
        plan: dict[str, JsonValue] = {"resource_group": place.group, "region": place.region, "only": args.only, "name": args.name,
                                      "resources": [*goes], "resources_digest": digest}
        return Proposal(
            effects=frozenset({Effect.DESTROY}), target=f"group:{place.group}", where=f"Azure, {place.region}",
            supersedes=f"teardown:{place.group}:{args.only}:{args.name}", card=self._card(place, args.only, chosen, left), plan=plan)

    def _place(self, group: str) -> CloudPlace:
        places = self._places.all()
        chosen = [each for each in places if not group or each.group == group]
        if len({each.group for each in chosen}) == 1:
            return chosen[0]
        known = ", ".join(each.group for each in places)
        if not places:
            raise ToolFailed("Tear down the cloud", "Nothing is prepared, so there is nothing of ours to delete.",
                             "If something is there, prepare its region again with prepare_cloud: what is there is found.",
                             kind="not_prepared")
        raise ToolFailed("Tear down the cloud", "No such group is prepared." if group else "Several groups are prepared.",
                         f"Name one with resource_group: {known}.", kind="usage")

    def _place_of(self, args: TeardownArgs) -> CloudPlace:
        """The group's place; of an orphan that was named without its group the one that it is in."""
        if args.name and not args.resource_group and len(self._places.all()) > 1:
            return next((place for place in self._places.all() if self._chosen(place, args.only, args.name)[0]), self._places.all()[0])
        return self._place(args.resource_group)

    def expired(self) -> list[Resource]:
        """Jobs and apps of ended runs and deployments that are past their expiry, in every prepared place. Raises AzureTrouble."""
        return [each for place in self._places.all() for each in self._chosen(place, "expired")[0]]

    def _chosen(self, place: CloudPlace, only: Only, name: str = "") -> tuple[list[Resource], list[Resource]]:
        found = Teardown(self._azure, place).resources()
        wanted = [each for each in found if each.ours and each.kind != "other" and self._is_meant(place, each, only)
                  and name in ("", each.name)]
        return wanted, [each for each in found if not each.ours or each.kind == "other"]

    def _is_meant(self, place: CloudPlace, resource: Resource, only: Only) -> bool:
        if not only:
            return True
        if resource.kind not in ("app", "job"):
            return False
        run = resource.kind == "job"
        ident = resource.run_id if run else resource.deployment_id
        known = ident in (self._runs.of_region(place.region) if run else self._deployments.of_region(place.region))
        if only == "orphans":
            return not known
        alive = ident in (self._runs.alive(place.region) if run else self._deployments.alive(place.region))
        return known and not alive and "" < resource.expires < self._clock().isoformat()

    def _card(self, place: CloudPlace, only: Only, chosen: list[Resource], left: list[Resource]) -> tuple[tuple[str, str], ...]:
        lines = [("Deletes", f"{_count(chosen)} in {place.group}, {place.region}; nothing of it can be brought back")]
        lines += [(each.kind.capitalize(), f"{each.name}: {each.words}{self._cost(place, each)}") for each in chosen[:LINES]]
        if len(chosen) > LINES:
            lines.append(("And", f"{len(chosen) - LINES} more"))
        if only:
            return tuple(lines)
        there, ours = Teardown(self._azure, place).group()
        if there:
            fate = "deleted when nothing else is in it" if ours else "stays, since Luthier did not make it"
            lines.append(("Group", f"{place.group}: {fate}"))
        missing = self._runs.only_there(place.region)
        if missing:
            lines.append(("Warning", f"the results of {', '.join(missing[:10])} are not all on this machine and would be lost; "
                                     "fetch_results brings them"))
        alive = [*self._runs.alive(place.region), *self._deployments.alive(place.region)]
        if alive:
            lines.append(("Stops first", ", ".join(alive[:10])))
        if left:
            lines.append(("Left alone", f"{', '.join(each.name for each in left[:10])}: not made by this Luthier"))
        return tuple(lines)

    def _cost(self, place: CloudPlace, resource: Resource) -> str:
        if resource.kind == "job" and resource.run_id:
            going = resource.run_id in self._runs.alive(place.region)
            return _said(self._runs.settled_micros(resource.run_id), going)
        if resource.kind == "app" and resource.deployment_id:
            going = resource.deployment_id in self._deployments.alive(place.region)
            return _said(self._deployments.settled_micros(resource.deployment_id), going)
        return ""

    def perform(self, args: TeardownArgs, call: Call, /) -> Result:
        """Stop, wait, delete in order, look again. Raises AzureTrouble when it cannot go on; the next call does."""
        place = self._place_of(args)
        if not args.only and args.confirm != place.group:
            raise ToolFailed(f"Tear down {place.group}", "Its name was not typed.", f"confirm={place.group}", kind="confirm")
        self._at_work.add(call.call_id)
        try:
            return self._take_away(place, args.only, args.name, call)
        finally:
            self._at_work.discard(call.call_id)

    def _take_away(self, place: CloudPlace, only: Only, name: str, call: Call) -> Result:
        teardown = Teardown(self._azure, place)
        if not only:
            self._stop_known(place, call)
        chosen, _ = self._chosen(place, only, name)
        teardown.stop([each for each in chosen if only != "expired"], call.report)
        deleted, failed = list[Resource](), dict[str, str]()
        for done, each in enumerate(chosen):
            call.report(f"Deleting {each.name}", done / max(1, len(chosen)))
            try:
                teardown.delete(each)
                deleted.append(each)
            except AzureTrouble as trouble:
                if trouble.trouble in ("signin", "not_installed"):
                    raise
                failed[each.name] = str(trouble)
            if each.name not in failed and each.kind == "app":
                self._deployments.forget(each.deployment_id, call.person)
            elif each.name not in failed and each.kind == "job":
                self._runs.forget(each.run_id, call.person)
        group = not only and not failed and teardown.delete_group(deleted)
        return self._told(place, only, teardown, deleted, failed, group)

    def _stop_known(self, place: CloudPlace, call: Call) -> None:
        for ident in self._deployments.alive(place.region):
            call.report(f"Stopping the deployment {ident}", None)
            self._deployments.stop(ident, call.person)
        for run in self._runs.alive(place.region):
            self._runs.stop(run, call.person)
        until = time.monotonic() + self._settle_s
        while (alive := self._runs.alive(place.region)) and time.monotonic() < until:
            call.report(f"Waiting until {', '.join(alive[:3])} has ended", None)
            time.sleep(self._azure.poll_s)
        if alive:
            raise ToolFailed(f"Tear down {place.group}", f"{', '.join(alive[:3])} still runs; nothing was deleted.",
                             "Ask again in a few minutes: it goes on from there.", kind="still_running")

    def _told(self, place: CloudPlace, only: Only, teardown: Teardown, deleted: list[Resource], failed: dict[str, str],
              group: bool) -> Result:
        left = () if group else teardown.left(deleted)
        mine = [each for each in left if each.ours]
        if not only:
            for ident in self._deployments.of_region(place.region):
                if not any(each.deployment_id == ident for each in mine):
                    self._deployments.forget(ident, "the teardown")
        if not only and not mine:
            self._places.forget(place.region)
        state = "incomplete" if failed or (mine and not only) else "gone" if not only else "cleared"
        result: dict[str, JsonValue] = {
            "resource_group": place.group, "state": state, "resources": [each.as_json() for each in deleted],
            "left": [each.as_json() for each in left], "group_deleted": group, "failed": dict(failed),
            "words": _summary(place.group, deleted, mine, failed, group, only),
        }
        facts: dict[str, JsonValue] = {"state": state, "deleted": len(deleted), "left_of_ours": len(mine) if not only else 0,
                                       "failed": len(failed), "group_deleted": group}
        return Result(result, facts)

    def recall(self, call_id: str, /) -> Result | Recall:
        """A teardown that a crash cut off has deleted some: the next one goes on with what is left."""
        return Recall.RUNNING if call_id in self._at_work else Recall.UNKNOWN


def _count(found: list[Resource]) -> str:
    return f"{len(found)} resource{'' if len(found) == 1 else 's'}"


def _said(micros: int, going: bool) -> str:
    return f"; {dollars(micros)} USD settled so far" + (", and it is still being paid for" if going else "")


def _summary(group: str, deleted: list[Resource], mine: list[Resource], failed: dict[str, str], gone: bool, only: Only) -> str:
    words = f"{_count(deleted)} {'was' if len(deleted) == 1 else 'were'} deleted."
    if gone:
        return f"{words} The group {group} is gone with them; nothing of ours is left."
    if failed:
        return f"{words} Not deleted: {', '.join(failed)}. Ask again: it goes on with what is left."
    if only:
        return words
    return f"{words} Nothing of ours is left in {group}." if not mine else f"{words} Still there: {', '.join(each.name for each in mine)}."
