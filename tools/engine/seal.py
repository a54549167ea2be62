"""A run's key, and documents signed with it: without the key nobody can make a checkpoint or a manifest that fits the run."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from tools.engine.failure import EngineFailed

LEAST_BYTES = 16


def read_key(folder: Path, key_path: str | None) -> bytes:
    """The run's HMAC key; empty when it has none and files are sealed by SHA-256 alone. Raises EngineFailed("foreign")."""
    if key_path is None:
        return b""
    path = folder / key_path
    try:
        key = path.read_bytes()
    except OSError as error:
        again = "Put the run folder back as it was, or start a new run."
        raise EngineFailed("foreign", f"The run's key {path.name} can't be read, so its checkpoints can't be trusted. {again}") from error
    if len(key) < LEAST_BYTES:
        raise EngineFailed("foreign", f"The run's key {path.name} is too short to be one. Start a new run.")
    return key


def _mac(key: bytes, kind: str, body: dict[str, Any]) -> str:
    """HMAC-SHA256 over the kind and the body's canonical JSON."""
    text = json.dumps([kind, body], ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def signed(key: bytes, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """`body` with its `hmac` under `key`; without a key the body alone. `kind` keeps a seal from standing in for another."""
    return {**body, "hmac": _mac(key, kind, body)} if key else dict(body)


def fits(key: bytes, kind: str, document: dict[str, Any]) -> bool:
    """Whether a document was signed with `key`; without a key, whether it bears no signature at all."""
    body = {name: value for name, value in document.items() if name != "hmac"}
    given = document.get("hmac")
    if not key:
        return given is None
    return isinstance(given, str) and hmac.compare_digest(given, _mac(key, kind, body))
