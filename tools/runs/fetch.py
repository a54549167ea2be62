"""`fetch_results`: downloads what a run in the cloud made, and verifies it."""

from typing import Any, ClassVar

from pydantic import JsonValue

from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.azure.client import Azure
from tools.azure.place import PlaceStore
from tools.runs.cloud_store import CloudStore
from tools.runs.local import LocalRuns
from tools.runs.look import RunArgs, named_run
from tools.runs.state import ALIVE
from tools.runs.store import RunRow, RunStore

SHOWN = 200
"""Files that a result names."""


class FetchResults:
    """The tool."""

    name: ClassVar[str] = "fetch_results"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Download what a run on Azure made: the adapter, the files that answer, the checkpoints. Each file is verified; what is here "
        "already is not loaded again. Without run_id: the latest run."
    )
    Args: ClassVar[type[ToolArgs]] = RunArgs

    def __init__(self, azure: Azure, prepared: PlaceStore, store: RunStore, cloud: CloudStore, local: LocalRuns) -> None:
        self._store, self._cloud, self._local, self._azure, self._prepared = store, cloud, local, azure, prepared

    def propose(self, args: RunArgs, /) -> Proposal:
        """Files into the run's own folder."""
        row = named_run(self._store, args.run_id)
        return Proposal(effects=frozenset({Effect.LOCAL}), target=f"run:{row.id}", where="this machine", owner=row.owner,
                        supersedes=row.id, card=(("Downloads", f"what the run {row.id} made, into its folder here"),))

    def perform(self, args: RunArgs, call: Call, /) -> Result:
        """Download and verify. Goes on from where an earlier call ended."""
        row = named_run(self._store, args.run_id, call.person)
        share = self._share(row)
        from tools.runs.container import fetch, fetch_checkpoints

        folder = self._local.folder(row.id)
        if share.stat(f"runs/{row.id}/manifest.json") is None:
            found = fetch_checkpoints(share, row.id, folder, call.report)
            words = (f"It ended before it was done. Its last checkpoint, {found.files[0].split('/')[1]}, is here, under the run's seal."
                     if found.files else "It left no checkpoint to bring.")
        else:
            found = fetch(share, row.id, folder, call.report)
            words = f"{len(found.files)} files are here, each as the run's manifest says."
        listed: list[JsonValue] = [*sorted(found.files)[:SHOWN]]
        facts: dict[str, JsonValue] = {"run_id": row.id, "count": len(found.files), "verified": found.verified}
        return Result({**facts, "files": listed, "path": str(folder), "message": words}, facts)

    def _share(self, row: RunRow) -> Any:
        what = f"Download the results of {row.id}"
        there = self._cloud.get(row.id)
        if there is None:
            raise ToolFailed(what, "It ran on this machine: its files are here.", "Look at them with run_status.", kind="usage")
        if row.state in ALIVE:
            raise ToolFailed(what, f"It is still {row.state.value}.", "Ask again when it has ended, or stop it with cancel_run.",
                             kind="state")
        place = self._prepared.get(there.region)
        if place is None:
            raise ToolFailed(what, f"{there.region} is not prepared any more.",
                             "Prepare the cloud there again; if its share was torn down, the files are gone.", kind="not_prepared")
        from tools.azure.files import open_share

        return open_share(self._azure, place)

    def recall(self, call_id: str, /) -> Result | Recall:
        """A download may be asked for again at any time."""
        return Recall.NOT_STARTED
