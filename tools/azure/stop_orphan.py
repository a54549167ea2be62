"""`stop_orphan`: ends something of ours in Azure that the book does not know, when a person asks for it."""

from typing import ClassVar

from pydantic import Field, JsonValue

from policies import fault
from policies.proposal import Effect, Proposal, Trait
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.azure.apps import Apps
from tools.azure.client import Azure
from tools.azure.jobs import Jobs
from tools.azure.orphans import Orphan, Orphans
from tools.azure.place import CloudPlace, PlaceStore


class StopOrphanArgs(ToolArgs):
    """Arguments of stop_orphan."""

    name: str = Field(pattern=r"^luthier-(run|app)-[a-z0-9]{1,20}$", max_length=32, description="The job's or app's name, as listed.")


class StopOrphan:
    """The tool."""

    name: ClassVar[str] = "stop_orphan"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Stop a job or an app in Azure that carries this Luthier's tags and that it has no record of, as list_orphans shows "
        "it. Its files stay. Never needs a yes."
    )
    Args: ClassVar[type[ToolArgs]] = StopOrphanArgs

    def __init__(self, azure: Azure, places: PlaceStore, orphans: Orphans) -> None:
        self._azure, self._places, self._orphans = azure, places, orphans

    def propose(self, args: StopOrphanArgs, /) -> Proposal:
        """A stop. Asks nobody."""
        return Proposal(effects=frozenset({Effect.LOCAL}), target=f"orphan:{args.name}", where="Azure", traits=frozenset({Trait.STOPS}))

    def perform(self, args: StopOrphanArgs, call: Call, /) -> Result:
        """Stop all that runs of it. ToolFailed when it is none: what the book knows has its own stop."""
        orphan, place = self._wanted(args.name)
        call.report("Asking Azure to stop it", None)
        if orphan.kind == "job":
            jobs = Jobs(self._azure, place)
            for execution in orphan.running:
                fault.point("cloud.orphan.stop")
                jobs.stop(orphan.name, execution)
        elif orphan.running:
            fault.point("cloud.orphan.stop")
            Apps(self._azure, place).stop(orphan.name.removeprefix("luthier-app-"))
        left = next((each for each in self._orphans.look(fresh=True) if each.name == args.name), None)
        state: JsonValue = "stopping" if left is not None and left.running else "stopped"
        facts: dict[str, JsonValue] = {"name": args.name, "kind": orphan.kind, "state": state}
        return Result(facts, facts)

    def _wanted(self, name: str) -> tuple[Orphan, CloudPlace]:
        for each in self._orphans.look(fresh=True):
            place = self._places.get(each.region)
            if each.name == name and place is not None:
                return each, place
        raise ToolFailed(f"Stop {name}", "There is nothing of that name that the book does not know.",
                         "A run is stopped with cancel_run, a deployment with stop_deployment.", kind="no_such_orphan")

    def recall(self, call_id: str, /) -> Result | Recall:
        """A stop may be asked for again at any time."""
        return Recall.NOT_STARTED
