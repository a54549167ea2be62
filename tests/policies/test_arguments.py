"""Arguments on their way in: closed models, sizes, secrets and defaults."""

from typing import Any

import pytest

from tests.policies.fakes_tools import reading
from tests.policies.home import OWNER, Home

TOKEN = "hf_" + "aB3" * 12


@pytest.mark.parametrize(("raw", "words"), [
    ({"approved": True}, "`approved` is not known"),
    ({"steps": 0}, "`steps`"),
    ({"steps": "many"}, "`steps`"),
    ({"name": "x" * 41}, "`name`"),
    ({"rate": float("nan")}, "not a plain JSON object"),
    ({"name": b"bytes"}, "not a plain JSON object"),
    ({"note": "x" * 200_000}, "bytes"),
    ([1], "not a plain JSON object"),  # pyright: ignore[reportArgumentType]
    ({"name": "\ud800"}, "not a plain JSON object"),
    ({"\u202eevil": 1}, "`\\u{202e}evil` is not known"),
], ids=["an unknown field", "out of range", "the wrong type", "too long", "not a number", "no JSON", "too large",
        "a list", "a lone surrogate", "an odd name"])
async def test_malformed_arguments_are_refused_with_a_remedy(home: Home, raw: dict[str, Any], words: str) -> None:
    tool = reading()
    answer = await home.gateway({"look": tool}).call("look", raw, OWNER)
    assert answer.status == "refused" and words in answer.reason and answer.remedy
    assert not tool.done and home.story(answer.call_id) == ["decision denied"]


async def test_an_unknown_field_names_the_allowed_ones(home: Home) -> None:
    answer = await home.gateway({"look": reading()}).call("look", {"nam": "x"}, OWNER)
    assert answer.remedy == "Allowed: name?, steps?, rate?, note? (`?` may be left out)."


@pytest.mark.parametrize("raw", [{"note": f"use {TOKEN}"}, {TOKEN: 1}, {"note": ["deep", {"x": TOKEN}]}], ids=["value", "name", "deep"])
async def test_a_secret_as_argument_is_refused_and_never_kept(home: Home, raw: dict[str, Any]) -> None:
    tool = reading()
    answer = await home.gateway({"look": tool}).call("look", raw, OWNER)
    assert answer.status == "refused" and "python -m ui secret set NAME" in answer.remedy and not tool.done
    home.book.close()
    kept = b"".join(path.read_bytes() for path in home.path.parent.iterdir())
    assert TOKEN.encode() not in kept and b"<secret: huggingface_token>" in kept


async def test_defaults_are_filled_in_before_parsing_and_are_part_of_the_recorded_call(home: Home) -> None:
    gateway = home.gateway({"look": reading()}, defaults=lambda tool, raw, caller: {"name": "latest", **raw})
    assert (await gateway.call("look", {}, OWNER)).result["name"] == "latest"
    answer = await gateway.call("look", {"name": "named"}, OWNER)
    assert answer.result["name"] == "named" and home.records(answer.call_id)[0]["args"]["name"] == "named"
