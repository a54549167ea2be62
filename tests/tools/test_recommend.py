"""The choice of a model: what is here and fits comes first, and every rejection has its number."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policies.book import Book
from policies.tool import Call, Result
from tests.tools.fakes_machine import RTX_3050, RTX_4060, RTX_4090, FixedDatasets, FixedHardware, machine, write_model
from tools.catalogue import Catalogue
from tools.entries import read_catalogue
from tools.hardware import Machine
from tools.outlook import DatasetFacts
from tools.places import Accelerator, Places
from tools.recommend import RecommendModel, choose, serve_as


class Bench:
    """The tool over a real catalogue and book, on a made-up machine."""

    def __init__(self, root: Path, book: Book) -> None:
        self.places = Places(root, root / "home")
        self.catalogue, self.datasets = Catalogue(self.places, book), FixedDatasets()

    def recommend(self, found: Machine, accelerator: Accelerator = "cpu", **args: Any) -> Result:
        tool = RecommendModel(self.catalogue, FixedHardware(found), self.datasets, accelerator)
        parsed = tool.Args(**args)
        tool.propose(parsed)
        return tool.perform(parsed, Call("c", "owner"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    book = Book.open(tmp_path / "home/book.sqlite")
    made = Bench(tmp_path, book)
    write_model(made.places.bundled_model)
    yield made
    book.close()


def rejected(answer: Result) -> dict[str, str]:
    told: Any = answer.result["rejected"]
    return {one["model"]: one["reason"] for one in told}


def test_what_is_already_here_is_chosen_with_its_reasons(bench: Bench) -> None:
    choice: Any = bench.recommend(machine()).result["choice"]
    assert (choice["model"], choice["variant"], choice["method"]) == ("bundled", "bundled-cpu-int8-onnx", "qlora")
    assert "already on this machine" in choice["why"] and "GiB of 24.0 GiB" in choice["why"] and "licence apache-2.0" in choice["why"]


def test_the_same_question_gets_the_same_answer(bench: Bench) -> None:
    assert bench.recommend(machine()).result == bench.recommend(machine()).result


def test_alternatives_name_what_must_be_downloaded(bench: Bench) -> None:
    others: Any = bench.recommend(machine()).result["alternatives"]
    assert others and all(not one["offline"] and "must be downloaded first" in one["why"] for one in others)


def test_what_does_not_fit_is_rejected_with_both_numbers(bench: Bench) -> None:
    reasons = rejected(bench.recommend(machine(6)))
    assert reasons["microsoft/Phi-3.5-mini-instruct"].startswith("needs 22.")
    assert "6.0 GiB free (main memory)" in reasons["microsoft/Phi-3.5-mini-instruct"]


@pytest.mark.parametrize(("card", "fits", "not_"), [
    (RTX_3050, "Qwen/Qwen3-0.6B", "Qwen/Qwen2.5-7B-Instruct"),
    (RTX_4060, "microsoft/Phi-3.5-mini-instruct", "Qwen/Qwen2.5-7B-Instruct"),
    (RTX_4090, "Qwen/Qwen2.5-7B-Instruct", ""),
], ids=["4 GiB", "8 GiB", "24 GiB"])
def test_a_gpu_is_judged_by_its_free_memory(bench: Bench, card, fits: str, not_: str) -> None:
    reasons = rejected(bench.recommend(machine(gpus=(card,)), "cuda"))
    assert fits not in reasons
    if not_:
        assert f"{card.free_bytes / 1024**3:.1f} GiB free (GPU 0, {card.name})" in reasons[not_]


def test_a_gpu_without_its_environment_is_not_counted_on(bench: Bench) -> None:
    answer = bench.recommend(machine(gpus=(RTX_4090,)), "cpu")
    assert answer.result["where"] == "this machine (CPU)"
    assert any("not used" in note for note in answer.result["notes"])  # type: ignore[union-attr,operator]


def test_a_limit_of_video_memory_is_taken_without_a_gpu_too(bench: Bench) -> None:
    answer = bench.recommend(machine(), max_vram_gb=4)
    assert "the 4 GB asked for" in rejected(answer)["Qwen/Qwen2.5-7B-Instruct"]
    assert "no NVIDIA GPU" in answer.result["notes"][0]  # type: ignore[index,operator]


@pytest.mark.parametrize(("wanted", "model", "reason"), [
    ("apache-2.0", "microsoft/phi-2", "its licence is mit, not apache-2.0"), ("Apache", "meta-llama/Llama-2-7b-hf", "llama2"),
    ("permissive", "google/gemma-2-2b-it", "is not permissive"), ("mit", "bundled", "its licence is apache-2.0, not mit"),
])
def test_a_licence_is_honoured(bench: Bench, wanted: str, model: str, reason: str) -> None:
    assert reason in rejected(bench.recommend(machine(), license=wanted))[model]


def test_the_task_narrows_the_choice(bench: Bench) -> None:
    answer = bench.recommend(machine(64), task="summarise meeting notes")
    assert "not known to be good at" in rejected(answer)["bundled"]


def test_the_datasets_lengths_count(bench: Bench) -> None:
    short: Any = bench.recommend(machine(), dataset="helpdesk.jsonl").result["choice"]
    bench.datasets.facts = DatasetFacts(400, 320, 400, 700, 1000)
    long: Any = bench.recommend(machine(), dataset="helpdesk.jsonl").result["choice"]
    assert long["memory_likely_bytes"] > short["memory_likely_bytes"]
    assert bench.datasets.asked == [("helpdesk.jsonl", "bundled")] * 2


def test_when_nothing_passes_it_says_so_and_what_to_relax(bench: Bench) -> None:
    answer = bench.recommend(machine(0.3))
    assert answer.result["choice"] is None and len(rejected(answer)) == len(read_catalogue())
    assert "relax" in answer.result["notes"][-1]  # type: ignore[index,operator]


def test_the_brain_gets_few_facts(bench: Bench) -> None:
    facts: Any = bench.recommend(machine(6)).for_brain
    assert len(facts["rejected"]) <= 8 and all(isinstance(one, str) for one in facts["alternatives"])


def test_choosing_is_pure_and_the_served_form_follows_size_and_device() -> None:
    from tools.outlook import USUAL, take_seat

    entries = {entry.id: entry for entry in read_catalogue()}
    found = machine(64)
    passed, _ = choose(tuple(entries.values()), found, take_seat(found, "cpu"), USUAL, None, None)
    assert passed == sorted(passed, key=lambda one: one.rank)
    for model, device, precision in (("bundled", "cpu", "int8"), ("Qwen/Qwen3-4B", "cpu", "int4"), ("Qwen/Qwen3-4B", "cuda", "int4")):
        variant = serve_as(entries[model], device)
        assert variant is not None and variant.precision == precision
