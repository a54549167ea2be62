"""Token counts: by the folder's own template and tokenizer, in a sandbox that a hostile template does not leave."""

from pathlib import Path

import pytest

from policies.tool import ToolFailed
from tests.tools.fakes_datasets import model_folder
from tools.datasets.render import TokenCounter, quantile
from tools.datasets.shape import Example, Message

EXAMPLE = Example((Message("user", "one two"), Message("assistant", "three")))


def test_a_conversation_is_rendered_with_the_folders_template_and_special_tokens(tmp_path: Path) -> None:
    counter = TokenCounter(model_folder(tmp_path / "m"))
    assert counter.render(EXAMPLE) == "<user> one two <end><assistant> three <end>"
    assert counter.lengths([EXAMPLE, Example(text="a b c d")]) == [6, 4]
    assert not counter.approximate


def test_the_template_may_lie_in_a_file_of_its_own(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", None)
    (folder / "chat_template.jinja").write_text("{{ messages | length }} turns")
    assert TokenCounter(folder).render(EXAMPLE) == "2 turns"


def test_without_a_template_the_count_is_marked_as_approximate(tmp_path: Path) -> None:
    counter = TokenCounter(model_folder(tmp_path / "m", None))
    assert "<|im_start|>user\none two<|im_end|>" in counter.render(EXAMPLE)
    assert counter.approximate


@pytest.mark.parametrize(
    "template",
    [
        pytest.param("{{ raise_exception('no') }}", id="refuses the row"),
        pytest.param("{% for", id="is no template"),
        pytest.param("{{ ''.__class__.__mro__[1].__subclasses__() }}", id="reaches for Python"),
        pytest.param("{{ messages.append(1) }}", id="changes the row"),
        pytest.param("{{ range(10 ** 9) | list }}", id="asks for endless memory"),
        pytest.param("{{ 'x' * 5000000 }}", id="writes too much"),
    ],
)
def test_a_template_that_misbehaves_is_replaced(tmp_path: Path, template: str) -> None:
    counter = TokenCounter(model_folder(tmp_path / "m", template))
    assert "one two<|im_end|>" in counter.render(EXAMPLE)


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe"])
def test_a_folder_without_a_good_tokenizer_says_so(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ToolFailed, match=r"no tokenizer\.json that can be read"):
        TokenCounter(tmp_path)


@pytest.mark.parametrize(("share", "value"), [(0.5, 5), (0.95, 10), (0.0, 1), (1.0, 10)])
def test_a_quantile_is_a_length_that_occurs(share: float, value: int) -> None:
    assert quantile(range(10, 0, -1), share) == value
    assert quantile([], share) == 0
