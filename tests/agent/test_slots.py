"""What is copied out of a person's words."""

from typing import Any

import pytest

from agent.brain.questions import Question, find_prompt, read_question
from agent.brain.slots import read_slots


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("use samples/helpdesk.jsonl, please.", "dataset", "samples/helpdesk.jsonl"),
        ("use (data/My-File_2.CSV)", "dataset", "data/My-File_2.CSV"),
        ("take helpdesk@3f2a91c0", "dataset", "helpdesk@3f2a91c0"),
        ("the helpdesk sample", "dataset", "samples/helpdesk.jsonl"),
        ("add ~/chats.jsonl", "path", "~/chats.jsonl"),
        ("add /srv/data/folder", "path", "/srv/data/folder"),
        ("on the bundled model", "model", "bundled"),
        ("tune the built-in model", "model", "bundled"),
        ("train org/tiny-1B on x.jsonl", "model", "org/tiny-1B"),
        ("train qwen2.5-0.5b on x.jsonl", "model", "qwen2.5-0.5b"),
        ("train on samples/helpdesk.jsonl", "model", None),
        ("fine-tune tiny@18f3b985 on x.jsonl", "model", "tiny@18f3b985"),
        ("train my model tiny-x@18f3b985 on helpdesk@3f2a1c90", "model", "tiny-x@18f3b985"),
        ("tune it on helpdesk@3f2a1c90", "model", None),
        ("status of 7h3k9m2pqr", "runs", ("7h3k9m2pqr",)),
        ("these benchmarks", "runs", ()),
        ("epochs=3", "settings", {"epochs": 3}),
        ("two epochs", "settings", {"epochs": 2}),
        ("1.5 epochs", "settings", {"epochs": 1.5}),
        ("max_steps: 60", "settings", {"max_steps": 60}),
        ("60 training steps", "settings", {"max_steps": 60}),
        ("learning rate of 2e-4", "settings", {"learning_rate": 2e-4}),
        ("lr 0.001", "settings", {"learning_rate": 0.001}),
        ("with LoRA", "settings", {"method": "lora"}),
        ("a full fine-tune", "settings", {"method": "full"}),
        ("in 4 bits", "settings", {"method": "qlora"}),
        ("call it Helper-2", "settings", {"name": "helper-2"}),
        ("as gguf", "format", "gguf"),
        ("last 20 lines", "lines", 20),
        ("the first 7 rows", "rows", 7),
        ("at most 8 GB", "max_vram_gb", 8.0),
        ("with an MIT licence", "license", "mit"),
        ("show failed runs", "status", "failed"),
        ("for summarising", "task", "summarise"),
    ],
)
def test_a_span_is_copied(text: str, name: str, value: Any) -> None:
    assert getattr(read_slots(text), name) == value


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("ask both: how do I pay?", Question("both", "how do I pay?")),
        ("Ask both models how to pay", Question("both", "how to pay")),
        ('ask the tuned model: "hi"', Question("tuned", "hi")),
        ("ask the base model: hi: there", Question("base", "hi: there")),
        ("ask it where my order is", Question("tuned", "where my order is")),
        ("ask 7h3k9m2pqr: hi", Question("7h3k9m2pqr", "hi")),
        ("let both answer: hi", Question("both", "hi")),
        ("ask both: line one\nline two", Question("both", "line one\nline two")),
        ("ask both", Question("both", "")),
        ("asking both is fun", None),
        ("let it train", None),
    ],
)
def test_a_question_for_a_model_is_read_word_for_word(text: str, question: Question | None) -> None:
    assert read_question(text) == question


def test_a_prompt_is_found_in_other_words() -> None:
    assert find_prompt('what does the tuned model say to "I lost my card"') == Question("tuned", "I lost my card")
    assert find_prompt("side by side answers: how long?") == Question("both", "how long?")
