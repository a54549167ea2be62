"""Strict schemas out of what Azure publishes: its types from the data folder, where that is, and the models of its own clients, always.

The folder is named by LUTHIER_AZURE_CONTRACT, which has no default; whatever needs it skips without it.
"""

import json
import os
import types
import typing
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from jsonschema.exceptions import best_match

VARIABLE = "LUTHIER_AZURE_CONTRACT"
APP = "microsoft.app-2026-01-01-types"
TYPES = {
    "job": "Microsoft.App/jobs", "app": "Microsoft.App/containerApps", "environment": "Microsoft.App/managedEnvironments",
    "storage": "Microsoft.App/managedEnvironments/storages", "auth": "Microsoft.App/containerApps/authConfigs",
}
"""Which published type a body of ours has."""
ARM = {"account": ("2025-08-01.Microsoft.Storage", "storageAccounts"),
       "share": ("2025-08-01.Microsoft.Storage", "storageAccounts_fileServices_shares"),
       "workspace": ("2025-07-01.Microsoft.OperationalInsights", "workspaces")}
REQUIRED, READ_ONLY, WRITE_ONLY, CONSTANT = 1, 2, 4, 8
Direction = typing.Literal["request", "change", "answer"]
EXTRA = frozenset({"dapr", "imageType", "patchingMode", "dynamicJsonColumns", "sharedKey"})
"""Keys that real answers carry and the published types do not know."""


def folder() -> Path | None:
    """The data folder, when it is named and there."""
    named = os.environ.get(VARIABLE, "")
    return Path(named) if named and Path(named).is_dir() else None


def need() -> Path:
    """The data folder; the test skips without it."""
    found = folder()
    if found is None:
        pytest.skip(f"{VARIABLE} is not set to the folder with Azure's published types and recordings")
    return found


class Published:
    """The types of one file of Azure's, as JSON Schemas of one direction."""

    def __init__(self, rows: list[dict[str, Any]], direction: Direction) -> None:
        self._rows, self._direction = rows, direction
        self._defined: dict[str, Any] = {}

    def schema(self, name: str) -> dict[str, Any]:
        """Of a resource type without its version."""
        row = next(each for each in self._rows if each.get("$type") == "ResourceType" and each["name"].partition("@")[0] == name)
        return {**self._ref(row["body"]), "$defs": self._defined}

    def _ref(self, ref: dict[str, str]) -> dict[str, Any]:
        number = ref["$ref"].rpartition("/")[2]
        row = self._rows[int(number)]
        if row["$type"] not in ("ObjectType", "DiscriminatedObjectType"):
            return self._plain(row)
        if number not in self._defined:
            self._defined[number] = {}
            self._defined[number].update(self._object(row))
        return {"$ref": f"#/$defs/{number}"}

    def _plain(self, row: dict[str, Any]) -> dict[str, Any]:
        match row["$type"]:
            case "StringType":
                words = {"minLength": "minLength", "maxLength": "maxLength", "pattern": "pattern"}
                return {"type": "string", **{ours: row[theirs] for theirs, ours in words.items() if theirs in row}}
            case "StringLiteralType":
                return {"const": row["value"]}
            case "IntegerType":
                return {"type": "number"}  # the types know no fractions, and `cpu` has some
            case "BooleanType":
                return {"type": "boolean"}
            case "ArrayType":
                return {"type": "array", "items": self._ref(row["itemType"])}
            case "UnionType":
                return {"anyOf": [self._ref(each) for each in row["elements"]]}
            case _:
                return {}

    def _object(self, row: dict[str, Any]) -> dict[str, Any]:
        if row["$type"] == "DiscriminatedObjectType":
            return {"type": "object"}
        hidden = {"request": READ_ONLY | CONSTANT, "change": READ_ONLY | CONSTANT, "answer": WRITE_ONLY}[self._direction]
        known = {name: each for name, each in row.get("properties", {}).items() if not each.get("flags", 0) & hidden}
        required = [name for name, each in known.items() if each.get("flags", 0) & REQUIRED] if self._direction == "request" else []
        open_for = self._ref(row["additionalProperties"]) if "additionalProperties" in row else False
        null = {"type": "null"}
        shown = {name: self._ref(each["type"]) for name, each in known.items()}
        if self._direction == "answer":
            shown = {name: {"anyOf": [each, null]} for name, each in shown.items()} | {name: {} for name in EXTRA}
        return {"type": "object", "properties": shown, "required": required, "additionalProperties": open_for}


@cache
def published(root: Path, name: str, direction: Direction) -> jsonschema.Draft202012Validator:
    """The published schema of a body by our name for it."""
    if name in TYPES:
        rows = json.loads((root / "bicep-types-az" / f"{APP}.json").read_text())
        return jsonschema.Draft202012Validator(Published(rows, direction).schema(TYPES[name]))
    file, kind = ARM[name]
    whole = json.loads((root / "arm-schemas" / f"{file}.json").read_text())
    strict = _strict({"definitions": whole["definitions"], **whole["resourceDefinitions"][kind]})
    # In a request's body these are part of its path.
    strict["required"] = [each for each in strict.get("required", []) if each not in ("name", "apiVersion", "type")]
    return jsonschema.Draft202012Validator(strict)


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    if str(node.get("$ref", "")).endswith("/definitions/expression"):
        return {"not": {}}
    made = {key: _strict(value) for key, value in node.items() if key not in ("id", "$schema")}
    if isinstance(made.get("properties"), dict) and "type" in made and "additionalProperties" not in made:
        made["additionalProperties"] = False
    return made


def problem(name: str, method: str, body: Any) -> str:
    """What the published types find wrong with a request; empty when nothing, or when they are not at hand."""
    root, kind = folder(), name.removesuffix("-change")
    if root is None or kind not in {*TYPES, *ARM}:
        return ""
    return first(published(root, kind, "change" if name.endswith("-change") or method == "PATCH" else "request"), body)


def first(chosen: jsonschema.Draft202012Validator, body: Any) -> str:
    """The most telling finding; empty without one."""
    error = best_match(chosen.iter_errors(body))
    return "" if error is None else f"{'/'.join(str(each) for each in error.absolute_path) or 'body'}: {error.message[:300]}"


def strange_to(model: Any, body: Any, path: str = "") -> list[str]:
    """Keys of a request that a model of the client does not know or only reads: the second contract, newer than the types."""
    model({})  # the client's models find out about their fields when the first one is made
    hints, fields = _hints(model), model._attr_to_rest_field  # type: ignore[attr-defined]
    known = {field._rest_name: (hints.get(name), field._visibility) for name, field in fields.items()}
    found: list[str] = []
    for key, value in body.items():
        here = f"{path}/{key}".lstrip("/")
        if key not in known:
            found.append(f"{here}: unknown to {model.__name__}")
        elif known[key][1] == ["read"]:
            found.append(f"{here}: {model.__name__} only reads it")
        else:
            inner = _model_in(known[key][0])
            for each in value if isinstance(value, list) else [value]:
                if inner is not None and isinstance(each, dict):
                    found += strange_to(inner, each, here)
    return found


@cache
def _hints(model: type) -> dict[str, Any]:
    module = __import__(model.__module__.rpartition(".models")[0] + ".models", fromlist=["models"])
    return typing.get_type_hints(model, localns={"_models": module})


def _model_in(hint: Any) -> type | None:
    if isinstance(hint, type) and any(each.__name__ == "_MyMutableMapping" for each in hint.__mro__):
        return hint
    if typing.get_origin(hint) in (typing.Union, types.UnionType, list):
        return next((found for each in typing.get_args(hint) if (found := _model_in(each)) is not None), None)
    return None
