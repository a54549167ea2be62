"""Following a log: whole lines, once each, in bounded memory, whatever happens to the file."""

import os
from pathlib import Path

import pytest

from tools.runs import logs
from tools.runs.logs import CHUNK, LogNews, clean_line, follow

SECRET = "hf_" + "a1B2c3D4e5" * 4


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def more(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_each_line_comes_once_from_the_last_mark_on(log: Path) -> None:
    more(log, b"one\ntwo\n")
    first = follow(log)
    more(log, b"three\n")
    second = follow(log, first.mark)
    assert (first.lines, second.lines) == (("one", "two"), ("three",))
    assert follow(log, second.mark) == LogNews((), second.mark)


def test_a_line_that_has_not_ended_waits_so_that_no_half_of_a_secret_is_shown(log: Path) -> None:
    more(log, b"begun\ntoken " + SECRET[:20].encode())
    first = follow(log)
    more(log, SECRET[20:].encode() + b" end\n")
    second = follow(log, first.mark)
    assert first.lines == ("begun",) and len(second.lines) == 1
    assert SECRET[:20] not in f"{first}{second}" and second.lines[0].endswith(" end")


def test_a_progress_bar_shows_its_last_whole_state(log: Path) -> None:
    more(log, b"start\n10%|#  |\r20%|## |\r30%|##")
    news = follow(log)
    assert news.lines == ("start",) and news.bar == "20%|## |"
    more(log, b"#|\rdone\n")
    after = follow(log, news.mark)
    assert after.lines == ("done",) and after.bar == ""


def test_no_log_is_empty_and_begins_when_it_comes(log: Path) -> None:
    nothing = follow(log)
    assert nothing == LogNews((), "")
    more(log, b"first\n")
    assert follow(log, nothing.mark).lines == ("first",)


def test_a_log_that_was_cut_begins_again(log: Path) -> None:
    more(log, b"a long first line\nand another\n")
    mark = follow(log).mark
    log.write_bytes(b"new\n")
    news = follow(log, mark)
    assert news.lines == ("new",) and news.again and not follow(log, news.mark).again


def test_another_file_in_its_place_begins_again_even_where_it_is_longer(log: Path) -> None:
    more(log, b"old\n")
    mark = follow(log).mark
    other = log.with_name("other")
    more(other, b"x\n" * 100)
    os.replace(other, log)
    news = follow(log, mark)
    assert news.again and news.lines == ("x",) * 100


def test_a_log_that_vanished_begins_again(log: Path) -> None:
    more(log, b"old\n")
    mark = follow(log).mark
    log.unlink()
    assert follow(log, mark) == LogNews((), "", again=True)


@pytest.mark.parametrize("mark", ["x", "1", "1:2", "-1:5", "9" * 30 + ":1", "1:99999999999999999999"])
def test_a_mark_that_is_none_begins_at_the_end_of_the_log(log: Path, mark: str) -> None:
    more(log, b"a\nb\n")
    news = follow(log, mark)
    assert news.lines == ("a", "b") and news.again


def test_more_than_a_look_gives_is_counted_and_left_out(log: Path) -> None:
    more(log, b"first\n")
    mark = follow(log).mark
    more(log, b"".join(b"line %d\n" % number for number in range(2000)))
    news = follow(log, mark)
    assert len(news.lines) == logs.LINES and news.lines[-1] == "line 1999"
    assert news.skipped_bytes == sum(len(f"line {number}\n") for number in range(2000 - logs.LINES))
    assert follow(log, news.mark).lines == ()


def test_a_large_log_is_read_from_its_end_in_a_bounded_part(log: Path) -> None:
    more(log, b"z" * 79 + b"\n")
    mark = follow(log).mark
    more(log, (b"y" * 79 + b"\n") * (3 * CHUNK // 80) + b"last\n")
    news = follow(log, mark)
    assert news.lines[-1] == "last" and set(news.lines[:-1]) == {"y" * 79}
    size = log.stat().st_size
    assert news.skipped_bytes + sum(len(line) + 1 for line in news.lines) + 80 == size
    assert follow(log).skipped_bytes == 0, "who opens a log late has missed nothing"


def test_an_endless_line_is_passed_over_in_bounded_memory_and_the_next_one_is_shown(log: Path) -> None:
    more(log, b"begun\n")
    news = follow(log)
    for _ in range(6):
        more(log, b"e" * (CHUNK // 2))
        news = follow(log, news.mark)
        assert all(len(line) <= 2100 for line in news.lines)
    more(log, b" end\nnext\n")
    lines = follow(log, news.mark).lines
    assert lines[-1] == "next" and all(len(line) <= 2100 for line in lines)


def test_a_secret_across_the_beginning_of_what_is_read_is_not_shown(log: Path) -> None:
    more(log, b"a\n")
    mark = follow(log).mark
    tail = b"b" * 90 + b"\n"
    count = (CHUNK - 10) // len(tail)
    rest = CHUNK - 10 - count * len(tail)
    more(log, b"key " + SECRET.encode() + b"c" * rest + b"\n" + tail * count)
    assert SECRET[-12:] not in str(follow(log, mark))


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00bad\n", bytes(range(256)) + b"\n", "ünï ✓\n".encode("utf-16")], ids=["bytes", "every byte", "utf-16"],
)
def test_bytes_that_are_no_text_are_shown_as_something_harmless(log: Path, content: bytes) -> None:
    more(log, content + b"\nafter\n")
    lines = follow(log).lines
    assert lines[-1] == "after"
    assert not any(ord(sign) < 32 and sign != "\t" for line in lines for sign in line)


def test_escape_codes_and_hidden_signs_are_taken_out() -> None:
    assert clean_line("\x1b[31mred\x1b[0m \u202eabc\u200b \x1b]8;;http://x\x07link\x1b]8;;\x07") == "red abc link"
