"""Taking up a run in the cloud that the book has lost: only what bears our tags, once, and stopped by its orders from then on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies import fault
from policies.tables import runs
from policies.verdict import Answer
from tests.azure.cloud import Cloud
from tests.azure.run_home import OWNER, RunHome, reports, trains
from tools.azure.prices import Prices
from tools.runs.adopt import AdoptRun
from tools.runs.cloud_row import Phase
from tools.runs.state import RunState


class AdoptHome(RunHome):
    """A home that adopts."""

    def open(self) -> None:
        """With the tool."""
        super().open()
        prices = Prices(self.azure, self.home / "cache" / "prices.json")
        self.adopt = AdoptRun(self.azure, self.prepared, prices, self.runs, self.reconciler, self.local)
        self.tools["adopt_run"] = self.adopt

    async def lost(self) -> tuple[str, str]:
        """A run is at work in the cloud, and the book was restored to a time before it. Run and execution."""
        copy = self.home.with_name("before.sqlite")
        self.book.close()
        shutil.copyfile(self.home / "book.sqlite", copy)
        self.open()
        self.cloud.script(trains())
        run = await self.begin()
        await self.until(lambda: bool(self.row(run).seen.started))
        self.close()
        for each in self.home.glob("book.sqlite*"):
            each.unlink()
        shutil.copyfile(copy, self.home / "book.sqlite")
        shutil.rmtree(self.home / "runs")
        self.open()
        return run, self.cloud.executions[0].name

    async def take_up(self, execution: str) -> Answer:
        """Ask, and say yes."""
        answer = await self.gateway.call("adopt_run", {"execution": execution}, OWNER)
        if answer.approval is None:
            return answer
        decided = await self.gateway.decide(answer.approval.id, "approve", OWNER)
        assert decided.answer is not None, decided.message
        return decided.answer


@pytest.fixture
def home(cloud: Cloud, tmp_path: Path) -> Iterator[AdoptHome]:
    made = AdoptHome(tmp_path / "home", cloud)
    made.prepare()
    yield made
    made.close()


async def test_an_adopted_run_is_looked_after_to_its_settled_end(home: AdoptHome, cloud: Cloud):
    run, execution = await home.lost()
    assert home.runs.get(run) is None
    answer = await home.take_up(execution)
    assert answer.status == "done" and answer.result["run_id"] == run, answer.reason
    await home.until(lambda: home.runs.wanted(run).state is RunState.RUNNING)
    reports(cloud.executions[0])
    row = await home.until_over(run)
    assert row.phase is Phase.SUCCEEDED and home.runs.wanted(run).state is RunState.FINISHED
    assert len(cloud.executions) == 1, "nothing was started"
    assert (home.local.folder(run) / "data" / "train.jsonl").is_file()
    assert home.runs.wanted(run).spec["max_steps"]


async def test_it_asks_and_its_card_has_the_orders_that_stop_it(home: AdoptHome):
    _, execution = await home.lost()
    answer = await home.gateway.call("adopt_run", {"execution": execution}, OWNER)
    assert answer.approval is not None and answer.approval.ceiling == "unpriced" and len(answer.approval.stop_rules) == 7
    assert home.runs.rows() == []


async def test_an_adopted_run_is_stopped_as_any_other(home: AdoptHome, cloud: Cloud):
    run, execution = await home.lost()
    await home.take_up(execution)
    answer = await home.gateway.call("cancel_run", {"run_id": run}, OWNER)
    assert answer.status == "done", answer.reason
    row = await home.until_over(run)
    assert row.phase is Phase.STOPPED and not [each for each in cloud.executions if not each.ended.is_set()]


async def test_what_the_book_knows_is_not_adopted(home: AdoptHome, cloud: Cloud):
    cloud.script(trains())
    run = await home.begin()
    await home.until(lambda: bool(home.row(run).execution))
    answer = await home.take_up(home.row(run).execution)
    assert answer.status == "failed" and "in the book already" in answer.reason


@pytest.mark.parametrize("execution", ["luthier-run-zzzzzzzzzz-abc1234", "luthier-run-0000000000-zzz"])
async def test_what_does_not_bear_our_tags_is_left_alone(home: AdoptHome, execution: str):
    await home.lost()
    answer = await home.take_up(execution)
    assert answer.status == "failed" and "no such execution with our tags" in answer.reason
    assert home.runs.rows() == []


@pytest.mark.parametrize("execution", ["", "../../etc", "luthier-run-0123", "other-job-0123456789-abc", "luthier-app-0123456789-abc"])
async def test_a_name_that_is_none_is_refused(home: AdoptHome, execution: str):
    answer = await home.gateway.call("adopt_run", {"execution": execution}, OWNER)
    assert answer.status in {"refused", "failed"} and answer.approval is None


async def test_an_execution_whose_record_names_another_run_is_left_alone(home: AdoptHome, cloud: Cloud):
    run, execution = await home.lost()
    for each in cloud.executions[0].template["containers"][0]["env"]:
        if each["name"] == "LUTHIER_RUN_ID":
            each["value"] = "9999999999"
    answer = await home.take_up(execution)
    assert answer.status == "failed" and "no such execution" in str(answer.reason).lower() and home.runs.get(run) is None


async def test_settings_of_another_run_are_not_taken_for_its_own(home: AdoptHome, cloud: Cloud):
    run, execution = await home.lost()
    path = cloud.share_root / "runs" / run / "spec.json"
    path.write_text(path.read_text().replace(run, "0123456789"))
    answer = await home.take_up(execution)
    assert answer.status == "failed" and "another run's" in answer.reason and home.runs.rows() == []


@pytest.mark.parametrize("point", ["cloud.adopt.folder", "cloud.adopt.row"])
async def test_an_adoption_that_broke_off_is_gone_on_with_by_the_next(home: AdoptHome, monkeypatch: pytest.MonkeyPatch, point: str):
    run, execution = await home.lost()

    def die(name: str, /) -> None:
        if name == point:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(fault, "point", die)
        first = await home.take_up(execution)
    assert first.status == "failed" and home.store.get(run) is None
    again = await home.take_up(execution)
    assert again.status == "done" and home.store.get(run) is not None, again.reason
    assert len(home.book.read(lambda db: db.execute(runs.select()).all())) == 1
