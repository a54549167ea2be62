"""A30-A35: names that want to become paths, files that are something else, ids that want to become commands."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from policies.tool import ToolFailed
from tests.agent.scripted import call
from tests.attacks.siege import ME, Siege
from tests.tools.fakes_runs import ROOT
from tools.datasets.refs import Refs
from tools.runs.rid import is_rid

BY_RUN = ["run_status", "tail_logs", "cancel_run", "resume_run", "evaluate_model", "export_model", "ask_model"]
BY_REFERENCE = ["validate_dataset", "preview_dataset", "start_finetune", "estimate_cost"]
SECRET = "the-content-of-a-secret-file"


def with_run(tool: str, run_id: str) -> dict[str, Any]:
    """The arguments of a tool that names a run."""
    return {"run_id": run_id} | ({"prompt": "q"} if tool == "ask_model" else {})


def with_reference(tool: str, ref: str) -> dict[str, Any]:
    """The arguments of a tool that names a dataset."""
    return {"model": "bundled", "dataset": ref} if tool in ("start_finetune", "estimate_cost") else {"path": ref}


@pytest.mark.parametrize("tool", BY_RUN)
@pytest.mark.parametrize("run_id", ["../../etc/passwd", "/etc/passwd", "..", "runs/0123456789"])
async def test_a30_a_run_is_named_by_its_id_and_by_no_path(siege: Siege, tool: str, run_id: str) -> None:
    siege.run()
    ended = await siege.attack(call(tool, with_run(tool, run_id)))
    assert ended.statuses == ["refused"] and "root:" not in ended.told + repr(ended.events)


REFERENCES = [
    "/etc/passwd",
    "~/.ssh/id_rsa",
    "~root/x",
    "../secret.jsonl",
    "samples/../../secret.jsonl",
    "samples/../secret.jsonl",
    "file:///etc/passwd",
    "https://evil.invalid/x.jsonl",
    "samples/a\x00.jsonl",
    "samples/%2e%2e/secret.jsonl",
    "%2e%2e/secret.jsonl",
    "\\\\server\\share\\x.jsonl",
    "samples\\..\\secret.jsonl",
    "CON",
    "samples/NUL.jsonl",
    "samples/com1.jsonl",
    "C:/x.jsonl",
    "",
    ".",
    "samples/.hidden.jsonl",
    "samples//rows.jsonl",
    "samples/\u202erows.jsonl",
    "samples/ro\u200bws.jsonl",
    "samples/rows.jsonl\n",
    "home/secrets/HF_TOKEN",
    "data/../secrets/HF_TOKEN",
    "../home/book.sqlite",
    "samples/link.jsonl",
    "samples/linked/secret.jsonl",
]


@pytest.mark.parametrize("ref", REFERENCES, ids=ascii)
async def test_a31_what_is_no_registered_id_or_relative_path_is_refused_with_what_to_do(siege: Siege, ref: str) -> None:
    (siege.folder / "secret.jsonl").write_text('{"prompt": "' + SECRET + '", "completion": "b"}\n')
    siege.rows("rows.jsonl")
    (siege.samples / "link.jsonl").symlink_to(siege.folder / "secret.jsonl")
    (siege.samples / "linked").symlink_to(siege.folder)
    ended = await siege.attack(*(call(tool, with_reference(tool, ref), f"c{n}") for n, tool in enumerate(BY_REFERENCE)))
    assert set(ended.statuses) <= {"refused", "failed"} and len(ended.statuses) == len(BY_REFERENCE) and not ended.cards
    assert SECRET not in ended.told + repr(ended.events)


async def test_a31_the_refusal_names_add_dataset_and_the_upload(siege: Siege) -> None:
    ended = await siege.attack(call("validate_dataset", {"path": "/etc/passwd"}))
    assert "add_dataset" in ended.reasons and "upload" in ended.reasons


PARTS = ["..", ".", "samples", "data", "secret.jsonl", "~", "", "home", "secrets", "\x00", "%2e%2e", "a:b", "linked", "rows.jsonl", "\\"]


def test_a31_no_path_that_anybody_could_write_leaves_the_allowed_folders(siege: Siege) -> None:
    refs, opened = Refs(siege.places, siege.book), []
    siege.rows("rows.jsonl")
    (siege.folder / "secret.jsonl").write_text(SECRET)
    (siege.samples / "linked").symlink_to(siege.folder)

    @settings(max_examples=400, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(parts=st.lists(st.sampled_from(PARTS) | st.text(max_size=4), max_size=6))
    @example(parts=["samples", "rows.jsonl"])
    def hold(parts: list[str]) -> None:
        try:
            with refs.open("/".join(parts)) as file:
                opened.append(Path(f"/proc/self/fd/{file.fd}").resolve())
        except ToolFailed:
            pass

    hold()
    assert set(opened) == {siege.samples.resolve() / "rows.jsonl"}


async def test_a32_a_hard_link_to_a_secret_is_no_dataset(siege: Siege) -> None:
    secret = siege.folder / "secret.jsonl"
    secret.write_text('{"prompt": "' + SECRET + '", "completion": "b"}\n')
    os.link(secret, siege.samples / "rows.jsonl")
    ended = await siege.attack(
        call("validate_dataset", {"path": "samples/rows.jsonl"}),
        call("preview_dataset", {"path": "samples/rows.jsonl"}, "c2"),
        call("add_dataset", {"path": str(siege.samples / "rows.jsonl")}, "c3"),
    )
    assert "done" not in ended.statuses[1:] and "hard links" in ended.reasons and SECRET not in ended.told + repr(ended.events)
    assert not ended.cards


@pytest.mark.parametrize("path", ["/proc/self/environ", "/dev/zero", "/dev/stdin", "/sys/kernel/notes", "FIFO", "FOLDER", "BOOK", "KEY"])
async def test_a33_what_is_no_plain_file_of_a_persons_own_is_not_added(siege: Siege, path: str) -> None:
    os.mkfifo(siege.folder / "fifo.jsonl")
    (siege.path / "keys").mkdir(exist_ok=True, mode=0o700)
    (siege.path / "keys" / "session.key").write_text("0" * 64)
    named = {
        "FIFO": siege.folder / "fifo.jsonl",
        "FOLDER": siege.folder,
        "BOOK": siege.path / "book.sqlite",
        "KEY": siege.path / "keys" / "session.key",
    }.get(path, path)
    ended = await siege.attack(call("add_dataset", {"path": str(named)}))
    assert ended.statuses in (["refused"], ["failed"]) and not ended.cards and siege.registered() == 0


async def test_a33_a_pipe_below_the_samples_is_no_dataset_and_nobody_waits_for_it(siege: Siege) -> None:
    os.mkfifo(siege.samples / "rows.jsonl")
    ended = await siege.attack(
        call("validate_dataset", {"path": "samples/rows.jsonl"}), call("preview_dataset", {"path": "samples/rows.jsonl"}, "c2")
    )
    assert "no regular file" in repr(ended.events) and ended.statuses[1] != "done"


RUN_IDS = [
    "x; rm -rf ~",
    "$(id)",
    "`id`",
    "0123456789\n",
    "0123456789; id",
    "-rf",
    "--help",
    "ilou012345",
    "0123456789 ",
    "０１２３４５６７８９",
]


@pytest.mark.parametrize("run_id", RUN_IDS, ids=ascii)
async def test_a34_a_run_id_is_ten_letters_and_digits_or_nothing(siege: Siege, run_id: str) -> None:
    siege.run()
    assert not is_rid(run_id)
    ended = await siege.attack(*(call(tool, with_run(tool, run_id), f"c{n}") for n, tool in enumerate(BY_RUN)))
    assert set(ended.statuses) == {"refused"}
    assert siege.toolbox.run_view(run_id) is None and siege.toolbox.log(run_id).lines == () and siege.toolbox.watch(run_id) == ([], 0)


def test_a34_no_shell_is_ever_asked() -> None:
    for room in ("ui", "agent", "tools", "policies"):
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text("utf-8")
            assert "shell=True" not in text and "os.system" not in text and "os.popen" not in text, path


@pytest.mark.parametrize("field", ["out", "output", "output_dir", "path", "dir", "folder", "checkpoint_dir"])
@pytest.mark.parametrize("tool", ["start_finetune", "export_model", "evaluate_model"])
async def test_a35_no_tool_takes_a_folder_to_write_to(siege: Siege, tool: str, field: str) -> None:
    siege.run()
    siege.rows("rows.jsonl")
    base = {"model": "bundled", "dataset": "samples/rows.jsonl"} if tool == "start_finetune" else {"run_id": "0123456789"}
    ended = await siege.attack(call(tool, {**base, field: str(ROOT)}))
    assert ended.statuses == ["refused"] and f"`{field}` is not known" in ended.reasons


async def test_a35_what_an_export_and_an_import_write_lies_below_the_home(siege: Siege) -> None:
    folder = siege.run()
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_model.safetensors").write_text("x")
    (folder / "result.json").write_text('{"adapter_dir": "../../../samples", "served_dir": "../../.."}')
    siege.rows("rows.jsonl")
    async with siege.workshop() as shop:
        gone = await shop.call("export_model", {"run_id": "0123456789", "format": "adapter"}, ME)
        (folder / "result.json").write_text("{}")
        given = await shop.call("export_model", {"run_id": "0123456789", "format": "adapter"}, ME)
        asked = await shop.call("add_dataset", {"path": str(siege.samples / "rows.jsonl"), "name": "rows"}, ME)
        assert asked.approval is not None
        added = await shop.decide(asked.approval.id, "approve", ME)
    assert gone.status == "failed" and given.status == "done" and Path(str(given.result["path"])).is_relative_to(siege.path)
    assert added.answer is not None and Path(str(added.answer.result["path"])).is_relative_to(siege.path)
