"""A figure keeps its limit or misses it, and the table says so."""

from bench.figure import Figure, machine, table, versions


def test_a_figure_below_an_upper_limit_is_good() -> None:
    assert Figure("page ready", 7.9, "s", 8.0).good and not Figure("page ready", 8.1, "s", 8.0).good


def test_a_figure_above_a_lower_limit_is_good() -> None:
    assert Figure("decoding", 0.95, "×", 0.9, "higher").good and not Figure("decoding", 0.8, "×", 0.9, "higher").good


def test_a_figure_without_a_limit_is_never_missed() -> None:
    assert Figure("bare", 100.0, "s").good


def test_a_figure_that_could_not_be_measured_is_missed() -> None:
    assert not Figure("stages", float("nan"), "", 0).good


def test_the_table_names_what_was_missed() -> None:
    text = table([Figure("page ready", 9.0, "s", 8.0), Figure("bare", 1234.5, "s")])
    lines = text.splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert "9 s" in lines[2] and "≤ 8 s" in lines[2] and "MISSED" in lines[2] and "1234 s" in lines[3]


def test_machine_and_versions_are_one_line_each() -> None:
    assert "cores" in machine() and "\n" not in machine() and "\n" not in versions()
