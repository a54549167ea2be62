"""Sweeps in words: which setting, which values, and when runs are wanted at all."""

import pytest

from agent.brain.sweeps import Named, is_wanted, may_be_wanted, read_sweep


@pytest.mark.parametrize(
    ("text", "of", "values"),
    [
        ("try r 8, 16, 32 on samples/helpdesk.jsonl", "r", "8,16,32"),
        ("tyr rnak 8 and 16", "r", "8,16"),
        ("sweep lora rank 8 16 32 on a.jsonl with 2 epochs", "r", "8,16,32"),
        ("train with r 8 and r 16", "r", "8,16"),
        ("bundled on a.jsonl with r=8/16/32", "r", "8,16,32"),
        ("ranks of [4, 8, 16]", "r", "4,8,16"),
        ("try r in (8, 16)", "r", "8,16"),
        ("r 8 and 16 with 2 epochs", "r", "8,16"),
        ("try r 8, 8 and 16", "r", "8,16"),
        ("compare learning rates 1e-4 and 2e-4", "lr", "1e-4,2e-4"),
        ("try learing rate 0.001 vs 0.0005", "lr", "0.001,0.0005"),
        ("lr=1e-4,3e-4,1e-3", "lr", "1e-4,3e-4,1e-3"),
        ("use 1e-4 and 2e-4 as learning rate", "lr", "1e-4,2e-4"),
        ("try 3 learning rates: 1e-4, 2e-4 and 5e-4", "lr", "1e-4,2e-4,5e-4"),
        ("try 1, 2 and 3 epochs", "epochs", "1,2,3"),
        ("one epoch versus two epochs", "epochs", "1,2"),
        ("try epcohs 1 2 3", "epochs", "1,2,3"),
        ("0.5 or 1.5 epochs", "epochs", "0.5,1.5"),
        ("run it with 50, 100 and 200 steps", "steps", "50,100,200"),
        ("steps 1,000 and 2,000", "steps", "1000,2000"),
        ("probiere r 8, 16 und 32 auf data.csv", "r", "8,16,32"),
        ("do a sweep over the learning rate", "lr", ""),
        ("do a sweep", "", ""),
    ],
)
def test_one_setting_and_its_values_are_copied(text: str, of: str, values: str) -> None:
    assert read_sweep(text) == Named(of, tuple(values.split(",")) if values else ())


@pytest.mark.parametrize(
    "text",
    [
        "train 3 epochs with lr 1e-4", "train with r 8 and 2 epochs", "train with learning rate 1e-4 and 2 epochs on a.jsonl",
        "train for 2 epochs and 100 steps", "compare run 4k2j8m9qxz with 7p3m1n8rty", "show 5 rows and 3 epochs", "qwen2.5-0.5b r 8",
        "compare the last 2 runs", "r 8.5 and 9.5", "the first 2 and the last 3 lines", "ask both: how do I pay?",
    ],
)
def test_single_values_and_other_numbers_are_no_sweep(text: str) -> None:
    assert read_sweep(text) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("try r 8, 16, 32", True), ("compare learning rates 1e-4 and 2e-4", True), ("lr 1e-4, 2e-4", True), ("do a sweep", True),
        ("please run a small sweep over r", True), ("sweep the learning rate", True),
        ("what is a sweep?", False), ("how did the sweep go", False), ("stop the sweep", False),
        ("compare the runs with 1 and 2 epochs", False), ("was r 8 better than r 16", False),
        ("would r 8 and 16 be allowed", False), ("which learning rate, 1e-4 or 2e-4", False),
    ],
)
def test_runs_are_wanted_only_where_the_words_ask_for_them(text: str, wanted: bool) -> None:
    assert is_wanted(text) is wanted


@pytest.mark.parametrize(
    ("text", "may"), [("1 epoch versus 2 epochs on a.jsonl", True), ("1 or 2 epochs on a.jsonl?", False), ("my runs r 8 and r 16", False)]
)
def test_bare_values_may_be_a_request_unless_they_ask(text: str, may: bool) -> None:
    assert may_be_wanted(text) is may
