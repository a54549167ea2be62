"""What a watched run writes comes at once, and a run that nobody watches costs nothing."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.azure.cloud import Cloud
from tests.azure.run_home import OWNER, RunHome, trains
from tools.runs.cloud_row import Phase
from tools.runs.cloud_tails import CloudTails

SOON_S = 10
"""Nothing takes as long; it only keeps a broken test from hanging."""


class Tailed:
    """Counts what is asked of the cloud."""

    def __init__(self, *, there: bool = True, fails: bool = False) -> None:
        self.asked: list[str] = []
        self.enough = threading.Event()
        self._there, self._fails = there, fails

    def __call__(self, run_id: str) -> bool:
        """One tail."""
        self.asked.append(run_id)
        if len(self.asked) >= 3 or not self._there or self._fails:
            self.enough.set()
        if self._fails:
            raise OSError("no network")
        return self._there


def test_a_watched_run_is_tailed_again_and_again() -> None:
    tailed = Tailed()
    tails = CloudTails(tailed, 0.01)
    tails.want("one")
    assert tailed.enough.wait(SOON_S)
    tails.close()
    assert set(tailed.asked) == {"one"}
    tails.want("two")
    assert "two" not in tailed.asked


@pytest.mark.parametrize("tailed", [Tailed(there=False), Tailed(fails=True)], ids=["nothing to bring", "fails"])
def test_a_run_with_nothing_to_bring_is_left_alone_for_a_while(tailed: Tailed) -> None:
    tails = CloudTails(tailed, 0.01)
    tails.want("one")
    assert tailed.enough.wait(SOON_S)
    for thread in threading.enumerate():
        if thread.name == "cloud-tails":
            thread.join(SOON_S)
    for _ in range(5):
        tails.want("one")
    tails.close()
    assert tailed.asked == ["one"]


@pytest.fixture
def homes(cloud: Cloud, tmp_path: Path) -> Iterator[RunHome]:
    """A home whose region is prepared."""
    home = RunHome(tmp_path / "home", cloud)
    home.prepare()
    yield home
    home.close()


async def test_a_line_comes_without_a_look_and_without_the_resource_manager(homes: RunHome, cloud: Cloud) -> None:
    cloud.script(trains())
    run = await homes.begin(gpu="T4")
    await homes.until(lambda: homes.row(run).phase is Phase.RUNNING)
    with (cloud.executions[0].run_folder / "log.txt").open("a") as file:
        file.write("brought by a tail\n")
    before = len(cloud.requests)
    homes.backend().tail(homes.row(run))
    assert homes.views.log(run).lines[-1] == "brought by a tail"
    assert [path for method, path in cloud.requests[before:] if not path.endswith("/listKeys")] == []
    await homes.gateway.call("cancel_run", {"run_id": run}, OWNER)
    await homes.until_over(run)
