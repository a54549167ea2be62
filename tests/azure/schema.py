"""Request bodies are held to strict schemas: a small one of our own always, the published types where they are at hand."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from tests.azure import contract

FOLDER = Path(__file__).parent / "schemas"


@cache
def own(name: str) -> jsonschema.Draft202012Validator | None:
    """Our schema of a body, `schemas/NAME.json`; None where there is none."""
    path = FOLDER / f"{name}.json"
    return jsonschema.Draft202012Validator(json.loads(path.read_text())) if path.exists() else None


def problem(name: str, method: str, body: Any) -> str:
    """What is wrong with a request's body, the first finding; empty when nothing is."""
    if not name:
        return ""
    chosen = own(name)
    return (contract.first(chosen, body) if chosen is not None else "") or contract.problem(name, method, body)
