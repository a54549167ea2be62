"""Reading a run folder as it grows."""

import json
from pathlib import Path

import pytest

from tools.runs.logs import clean_line
from tools.runs.state import RunState
from tools.runs.store import RunRow
from tools.runs.watch import RunWatch, served_dir


def write(folder: Path, text: str | bytes, name: str = "events.jsonl") -> None:
    with (folder / name).open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def row(state: RunState = RunState.RUNNING) -> RunRow:
    return RunRow("0123456789", "owner", None, "c", "", state, "", "bundled", "samples/a.jsonl", "qlora", {"max_steps": 60}, {},
                  "this machine", 1, "2026-11-24T05:00:00Z", None, None, {}, 700, None)


def test_events_are_read_once_from_where_the_last_read_ended(tmp_path: Path) -> None:
    watch = RunWatch(tmp_path)
    write(tmp_path, '{"kind":"stage","stage":"train"}\n')
    first, offset = watch.read(0)
    write(tmp_path, '{"kind":"step","step":1}\n')
    second, end = watch.read(offset)
    assert [e["kind"] for e in first + second] == ["stage", "step"]
    assert watch.read(end) == ([], end)


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    watch = RunWatch(tmp_path)
    write(tmp_path, '{"kind":"step","st')
    assert watch.read(0) == ([], 0)
    write(tmp_path, 'ep":7}\n')
    assert watch.read(0)[0] == [{"kind": "step", "step": 7}]


def test_broken_lines_are_left_out_and_passed(tmp_path: Path) -> None:
    write(tmp_path, b'\xff\xfe\x00\n[1]\nnot json\n{"kind":"step","step":1}\n')
    events, offset = RunWatch(tmp_path).read(0)
    assert events == [{"kind": "step", "step": 1}] and offset == (tmp_path / "events.jsonl").stat().st_size


def test_an_offset_beyond_the_end_or_a_missing_file_gives_nothing(tmp_path: Path) -> None:
    assert RunWatch(tmp_path).read(5) == ([], 5)
    write(tmp_path, '{"kind":"step"}\n')
    assert RunWatch(tmp_path).read(10_000) == ([], 10_000)


def test_a_read_is_bounded_and_the_fold_is_not(tmp_path: Path) -> None:
    write(tmp_path, "".join(f'{{"kind":"step","step":{n},"steps":5000}}\n' for n in range(1, 5001)))
    watch = RunWatch(tmp_path)
    events, offset = watch.read(0)
    assert len(events) == 2000 and watch.read(offset)[0][0]["step"] == 2001
    assert watch.progress().step == 5000


def test_the_log_s_last_lines_need_a_bounded_part_of_a_large_file(tmp_path: Path) -> None:
    write(tmp_path, "".join(f"line {n} {'x' * 100}\n" for n in range(40_000)), "log.txt")
    page = RunWatch(tmp_path).log(lines=3)
    assert [line.split()[1] for line in page.lines] == ["39997", "39998", "39999"]
    assert len(RunWatch(tmp_path).log(lines=100_000).lines) <= 1000


def test_the_log_is_paged_by_offset_without_loss_or_repeat(tmp_path: Path) -> None:
    lines = [f"line {n}" for n in range(60_000)]
    write(tmp_path, "\n".join(lines) + "\nhalf a li", "log.txt")
    watch, offset, seen = RunWatch(tmp_path), 0, []
    while (page := watch.log(offset)).lines:
        seen += page.lines
        offset = page.offset
    assert seen == lines


def test_a_log_of_one_endless_line_is_paged_too(tmp_path: Path) -> None:
    write(tmp_path, "x" * 600_000, "log.txt")
    first = RunWatch(tmp_path).log(0)
    assert len(first.lines) == 1 and len(first.lines[0]) < 2100 and first.offset == 1 << 18


def test_no_log_is_an_empty_page(tmp_path: Path) -> None:
    assert RunWatch(tmp_path).log(lines=5).lines == () and RunWatch(tmp_path).log(0).lines == ()


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m\n", "red"),
        (" 10%|#  |\r 50%|## |\r100%|###|\r\n", "100%|###|"),
        ("\x1b]0;title\x07text", "text"),
        ("a\u202eb\u200bc\x00d", "abcd"),
        ("tab\tkept", "tab\tkept"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
    ids=["colour", "progress bar", "window title", "hidden characters", "tab", "markup is the face's to escape"],
)
def test_a_log_line_is_made_readable(raw: str, shown: str) -> None:
    assert clean_line(raw) == shown


@pytest.mark.parametrize("secret", ["hf_" + "a1B2" * 8, "AKIA" + "ABCDEFGH12345678", "sk-" + "proj-" + "aB3" * 12])
def test_a_secret_in_a_log_line_is_not_shown_even_where_a_long_line_is_cut(secret: str) -> None:
    assert secret not in clean_line(f"token={secret}")
    assert secret[:20] not in clean_line("x " * 990 + secret + " y" * 2000)


def test_the_view_joins_the_book_and_the_folder(tmp_path: Path) -> None:
    for n in range(1, 6):
        write(tmp_path, json.dumps({"t": n * 2.0, "kind": "step", "step": n, "steps": 60, "loss": 3.0, "memory_bytes": 500}) + "\n")
    view = RunWatch(tmp_path).view(row())
    assert (view.step, view.steps, view.loss, view.state, view.eta_s, view.predicted_memory_bytes) == (5, 60, 3.0, "running", 110.0, 700)
    assert RunWatch(tmp_path).view(row(RunState.CANCELLED)).eta_s is None


def test_before_the_first_event_the_view_shows_the_planned_steps(tmp_path: Path) -> None:
    view = RunWatch(tmp_path).view(row(RunState.QUEUED))
    assert (view.step, view.steps, view.loss, view.served) == (0, 60, None, False)


def test_a_served_folder_outside_the_run_is_none(tmp_path: Path) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    (run / "served").mkdir(parents=True)
    outside.mkdir()
    (run / "link").symlink_to(outside)
    assert served_dir(run, {"served_dir": "served"}) == (run / "served").resolve()
    assert [served_dir(run, {"served_dir": name}) for name in ("../outside", str(outside), "link", "missing", 5, None)] == [None] * 6
