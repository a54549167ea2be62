"""What an app in Azure says that its deployment has become: pure."""

from tools.azure.app_body import revision_name
from tools.azure.apps import AppSeen
from tools.serve.deploy_state import Became, DeployState, stopped_words

START_S = 2700.0
"""A deployment that is not up after so many seconds is stopped and given up."""


def app_became(app: AppSeen | None, revision: int, *, state: DeployState, stop_by: str, waited_s: float) -> Became:
    """The state that the app proves; the same state where it proves no other. A stop holds only once nothing runs any more."""
    late = state is DeployState.STARTING and waited_s > START_S
    if app is None:
        if stop_by:
            return Became(DeployState.STOPPED, stopped_words(stop_by, "stop"), "stop")
        if state is DeployState.RUNNING:
            return Became(DeployState.LOST, "Its app is gone from Azure. Deploy it again.", "gone")
        return _late() if late else Became(state)
    if app.stopped:
        if stop_by:
            return Became(DeployState.STOPPED, stopped_words(stop_by, "stop"), "stop")
        if state is DeployState.RUNNING:
            return Became(DeployState.STOPPED, "It was stopped in Azure, not by Luthier. Start it again with redeploy.", "outside")
    if stop_by:
        return Became(state)
    mine = app.revision(revision_name(app.name, revision))
    starting = state is DeployState.STARTING  # what answers is judged by itself: the app may lie in a later revision's failure
    if (starting and app.provisioning in ("failed", "canceled")) or (mine is not None and mine.failed):
        return Became(DeployState.FAILED, "Its container did not come up on Azure; the app's log in the portal says more.", "start")
    if mine is not None and mine.up and app.provisioning == "succeeded" and app.fqdn:
        return Became(DeployState.RUNNING)
    return _late() if late else Became(state)


def went_back(failed: int, kept: int, model: str, reason: str) -> str:
    """What is told when a revision did not come up and the one before it goes on."""
    return (f"Revision {failed} did not come up: {reason[:400]} Revision {kept} ({model}) goes on answering, under the approval that it "
            "had. Ask for redeploy again once the reason is mended.")


def _late() -> Became:
    return Became(DeployState.FAILED, f"It was not up after {START_S / 60:.0f} minutes. An image of one's own that has the packages "
                  "(infra/engine.Dockerfile) starts faster.", "start")
