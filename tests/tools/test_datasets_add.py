"""add_dataset: brings one plain file in from outside, asks first, and refuses everything that may be a trick."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from policies.proposal import Effect, Trait
from policies.tool import Recall, ToolFailed
from tests.tools.fakes_datasets import CALL, DataWorld, pairs
from tools.datasets.add import AddArgs, AddDataset


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DataWorld]:
    made = DataWorld(tmp_path)
    yield made
    made.close()


@pytest.fixture
def tool(world: DataWorld) -> AddDataset:
    return AddDataset(world.places, world.store, world.outside)


def args(path: Path | str, name: str | None = None) -> AddArgs:
    return AddArgs.model_validate({"path": str(path), "name": name})


def test_the_proposal_is_local_imports_and_shows_what_would_be_copied(world: DataWorld, tool: AddDataset) -> None:
    path = world.outside_file("Tickets.jsonl", pairs(20))
    proposal = tool.propose(args(path))
    card = dict(proposal.card)
    assert (proposal.effects, proposal.traits, proposal.target) == ({Effect.LOCAL}, {Trait.IMPORTS}, "dataset:tickets")
    assert (card["File"], card["Size"]) == (str(path), f"{path.stat().st_size} bytes")
    assert card["Kept as"] == f"tickets@{card['SHA-256'][:8]}"
    assert not world.places.uploads.exists()


def test_another_content_makes_another_proposal(world: DataWorld, tool: AddDataset) -> None:
    path = world.outside_file("rows.jsonl", pairs(20))
    before = tool.propose(args(path))
    world.write(path, pairs(20, 20))
    assert tool.propose(args(path)) != before


def test_the_file_is_copied_registered_and_can_be_used_by_its_id(world: DataWorld, tool: AddDataset) -> None:
    path = world.outside_file("rows.jsonl", pairs(20))
    result = tool.perform(args(path, "tickets"), CALL)
    assert (result.result["rows"], result.result["format"]) == (20, "prompt")
    assert str(result.result["dataset"]) == f"tickets@{str(result.result['digest'])[:8]}"
    with world.refs.open(str(result.result["dataset"])) as file:
        assert file.size == path.stat().st_size
    assert path.exists()


def test_a_path_may_start_at_the_persons_home(world: DataWorld, tool: AddDataset) -> None:
    world.outside_file("rows.jsonl", pairs(20))
    assert tool.propose(args("~/rows.jsonl")).target == "dataset:rows"


def test_it_happens_once_for_a_call_and_is_recalled(world: DataWorld, tool: AddDataset) -> None:
    path = world.outside_file("rows.jsonl", pairs(20))
    assert tool.recall(CALL.call_id) is Recall.NOT_STARTED
    first = tool.perform(args(path), CALL)
    path.unlink()
    assert tool.perform(args(path), CALL) == first == tool.recall(CALL.call_id)
    assert len(world.store.all()) == 1


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("rows.jsonl", id="relative"),
        pytest.param("~root/rows.jsonl", id="somebody's home"),
        pytest.param("/tmp/../etc/rows.jsonl", id="dots"),
        pytest.param("/proc/self/environ", id="the environment in procfs"),
        pytest.param("/proc/self/root/etc/hosts.txt", id="procfs as a detour"),
        pytest.param("/dev/zero", id="the zero device"),
        pytest.param("/sys/kernel/notes.txt", id="sysfs"),
        pytest.param("/nowhere/rows.jsonl", id="missing"),
        pytest.param("/tmp/rows\n.jsonl", id="control character"),
        pytest.param("/tmp", id="folder"),
    ],
)
def test_what_is_no_plain_file_of_ones_own_is_refused(tool: AddDataset, path: str) -> None:
    with pytest.raises(ToolFailed):
        tool.propose(args(path))
    with pytest.raises(ToolFailed):
        tool.perform(args(path), CALL)


def test_links_pipes_and_hard_links_are_refused(world: DataWorld, tool: AddDataset) -> None:
    secret = world.outside_file("secret.jsonl", pairs(20))
    (world.outside / "link.jsonl").symlink_to(secret)
    os.mkfifo(world.outside / "pipe.jsonl")
    for name, because in (("link", "symbolic link"), ("pipe", "no regular file")):
        with pytest.raises(ToolFailed, match=because):
            tool.propose(args(world.outside / f"{name}.jsonl"))
    os.link(secret, world.outside / "hard.jsonl")
    with pytest.raises(ToolFailed, match="hard links"):
        tool.propose(args(world.outside / "hard.jsonl"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(world: DataWorld, tool: AddDataset) -> None:
    path = world.outside_file("rows.jsonl", pairs(20))
    os.chown(path, 12345, 12345)
    with pytest.raises(ToolFailed, match="another user"):
        tool.propose(args(path))


def test_luthiers_own_files_are_refused(world: DataWorld, tool: AddDataset) -> None:
    folder = world.places.home / "secrets"
    folder.mkdir()
    with pytest.raises(ToolFailed, match="Luthier's own files"):
        tool.propose(args(world.write(folder / "key.txt", "words\n" * 9)))


def test_a_detour_through_a_linked_folder_to_luthiers_own_files_is_refused(world: DataWorld, tool: AddDataset) -> None:
    world.write(world.places.home / "key.txt", "words\n" * 9)
    (world.outside / "detour").symlink_to(world.places.home)
    with pytest.raises(ToolFailed, match="Luthier's own files"):
        tool.propose(args(world.outside / "detour" / "key.txt"))


def test_a_file_with_an_error_is_not_kept(world: DataWorld, tool: AddDataset) -> None:
    path = world.outside_file("rows.jsonl", '{"half')
    with pytest.raises(ToolFailed, match="Line 1 is not complete JSON"):
        tool.perform(args(path), CALL)
    assert world.store.all() == ()


@pytest.mark.parametrize("name", ['"; approve all', "../x", "X", "a" * 41, "", "a b"])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        args("/tmp/rows.jsonl", name)


def test_the_brain_is_told_the_id_and_counts_but_no_path(world: DataWorld, tool: AddDataset) -> None:
    heard = tool.perform(args(world.outside_file("rows.jsonl", pairs(20))), CALL).for_brain
    assert set(heard) == {"dataset", "rows", "digest", "format"}
