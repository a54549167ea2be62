"""The estimate of one run: the shared fields, the seat it is judged for, and what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policies.book import Book
from policies.proposal import Effect
from policies.tool import Call, Recall, ToolFailed
from tests.tools.fakes_machine import RTX_3050, RTX_4090, FixedDatasets, FixedHardware, machine, write_model
from tools.catalogue import Catalogue
from tools.estimate import EstimateCost
from tools.hardware import Machine
from tools.places import Accelerator, Places


class Bench:
    """The tool over a real catalogue and book, on a made-up machine."""

    def __init__(self, root: Path, book: Book) -> None:
        self.places, self.datasets = Places(root, root / "home"), FixedDatasets()
        self.catalogue = Catalogue(self.places, book)

    def tool(self, found: Machine, accelerator: Accelerator = "cpu") -> EstimateCost:
        return EstimateCost(self.catalogue, FixedHardware(found), self.datasets, accelerator)

    def estimate(self, found: Machine, accelerator: Accelerator = "cpu", **args: Any) -> dict[str, Any]:
        tool = self.tool(found, accelerator)
        parsed = tool.Args(**{"model": "bundled", "dataset": "helpdesk.jsonl", **args})
        assert tool.propose(parsed).effects == {Effect.READ}
        return dict(tool.perform(parsed, Call("c", "owner")).result)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    book = Book.open(tmp_path / "home/book.sqlite")
    made = Bench(tmp_path, book)
    write_model(made.places.bundled_model)
    yield made
    book.close()


def test_it_gives_the_fields_everything_shares(bench: Bench) -> None:
    found = bench.estimate(machine())
    assert found["fits"] is True
    assert found["memory"]["low_bytes"] <= found["memory"]["likely_bytes"] <= found["memory"]["high_bytes"]
    assert 0 < found["time"]["low_s"] <= found["time"]["likely_s"] <= found["time"]["high_s"]
    assert {"likely": "0.00", "ceiling": "0.00", "currency": "USD", "price_date": None}.items() <= found["cost"].items()
    assert (found["where"], found["steps"]) == ("this machine (CPU)", 60)
    assert any("320 training rows" in line for line in found["assumptions"])


def test_steps_and_epochs_are_counted(bench: Bench) -> None:
    assert bench.estimate(machine(), epochs=2)["steps"] == 160
    assert bench.estimate(machine(), max_steps=10)["steps"] == 10


def test_a_model_that_is_not_here_is_judged_by_the_catalogue_and_says_so(bench: Bench) -> None:
    found = bench.estimate(machine(20), model="qwen3-4b")
    assert found["fits"] is False and found["remedies"]
    assert "needs about" in found["reason"] and "20.0 GiB are free (main memory)" in found["reason"]
    assert bench.datasets.asked == [("helpdesk.jsonl", "bundled")]
    assert "The model is not on this machine: its figures are the catalogue's." in found["assumptions"]


def test_a_model_that_is_here_is_counted_with_its_own_tokenizer(bench: Bench, tmp_path: Path) -> None:
    added = bench.catalogue.add_folder(write_model(tmp_path / "mine"), "owner")
    assert bench.estimate(machine(), model="mine")["model"] == added.id
    assert bench.datasets.asked == [("helpdesk.jsonl", "mine")]


def test_more_work_takes_longer_and_other_methods_more_memory(bench: Bench) -> None:
    plain = bench.estimate(machine(), model="smollm2-360m-instruct")
    longer = bench.estimate(machine(), model="smollm2-360m-instruct", epochs=3)
    assert longer["time"]["likely_s"] > plain["time"]["likely_s"]
    fuller = bench.estimate(machine(), model="smollm2-360m-instruct", method="full")
    assert fuller["memory"]["likely_bytes"] > plain["memory"]["likely_bytes"]


@pytest.mark.parametrize(("gpu", "where", "room"), [
    (None, "this machine (GPU)", RTX_4090.free_bytes), ("0", "this machine (GPU)", RTX_3050.free_bytes),
    ("3050", "this machine (GPU)", RTX_3050.free_bytes), ("cpu", "this machine (CPU)", 24 * 1024**3),
])
def test_the_device_is_the_roomiest_or_the_one_named(bench: Bench, gpu: str | None, where: str, room: int) -> None:
    found = bench.estimate(machine(24, gpus=(RTX_3050, RTX_4090)), "cuda", gpu=gpu)
    assert (found["where"], found["memory"]["available_bytes"]) == (where, room)


def test_a_gpu_without_its_environment_is_said_to_be_unused(bench: Bench) -> None:
    found = bench.estimate(machine(gpus=(RTX_4090,)))
    assert found["where"] == "this machine (CPU)"
    assert any("prepare it with LUTHIER_ACCELERATOR=cuda" in line for line in found["assumptions"])


def test_a_gpu_that_is_not_here_is_refused_with_what_is(bench: Bench) -> None:
    with pytest.raises(ToolFailed, match="RTX 4090"):
        bench.estimate(machine(gpus=(RTX_4090,)), gpu="H100")
    with pytest.raises(ToolFailed, match="none"):
        bench.estimate(machine(), gpu="0")


def test_a_busy_machine_is_told(bench: Bench) -> None:
    assert any("keep this machine busy" in line for line in bench.estimate(machine(load=6.0))["assumptions"])


def test_without_azure_a_cloud_run_is_refused_with_the_way_to_it(bench: Bench) -> None:
    with pytest.raises(ToolFailed, match="make azure"):
        bench.estimate(machine(), provider="azure")


def test_a_region_is_for_azure_alone(bench: Bench) -> None:
    tool = bench.tool(machine())
    with pytest.raises(ToolFailed, match="provider=azure"):
        tool.propose(tool.Args(model="bundled", dataset="x", region="eastus"))


def test_an_unknown_model_is_refused(bench: Bench) -> None:
    with pytest.raises(ToolFailed, match="No such model"):
        bench.estimate(machine(), model="gpt-9")


def test_reading_may_be_done_again_after_a_crash(bench: Bench) -> None:
    assert bench.tool(machine()).recall("c") is Recall.NOT_STARTED
