"""Secrets by name: in the operating system's keyring when one really answers, else in files that only their owner reads."""

import os
import re
import secrets as random
from pathlib import Path
from typing import Any

from policies.tool import ToolFailed

NAME = re.compile(r"[A-Z][A-Z0-9_]{1,63}")
SERVICE = "luthier"
_INDEX = ".names"
_Names = set[str]  # inside the class, `set` is the method


class SecretStore:
    """Sets, lists, gets and removes secrets of one home. Values never appear in an error or a repr."""

    def __init__(self, folder: Path, *, use_keyring: bool = True) -> None:
        self._folder = folder
        self._keyring = _answering_keyring() if use_keyring else None

    @property
    def where(self) -> str:
        """Where secrets lie, in words."""
        return "the system's keyring" if self._keyring else f"files in {self._folder} (0600)"

    def set(self, name: str, value: str) -> None:
        """Keep `value` under `name`. Raises ToolFailed for a name or value that cannot be kept."""
        _check(name)
        value = value.strip()
        if not value or "\n" in value or len(value) > 16_384:
            raise ToolFailed("The secret was not kept", "the value is empty, too long or has several lines.", "Give one line of text.")
        if self._keyring:
            self._keyring.set_password(SERVICE, self._account(name), value)
            self._write(_INDEX, "\n".join(sorted({*self._indexed(), name})))
        else:
            self._write(name, value)

    def get(self, name: str) -> str | None:
        """The value of `name`, or None. A file left from before a keyring answered is still found."""
        _check(name)
        if self._keyring and (value := self._keyring.get_password(SERVICE, self._account(name))):
            return value
        try:
            return (self._folder / name).read_text("utf-8").strip() or None
        except FileNotFoundError:
            return None

    def list(self) -> tuple[str, ...]:
        """The names kept, never the values."""
        files = {each.name for each in self._folder.iterdir() if NAME.fullmatch(each.name)} if self._folder.is_dir() else set()
        return tuple(sorted(files | (self._indexed() if self._keyring else set())))

    def remove(self, name: str) -> bool:
        """Forget `name`; False when it was not kept."""
        known = name in self.list()
        _check(name)
        if self._keyring and name in self._indexed():
            self._keyring.delete_password(SERVICE, self._account(name))
            self._write(_INDEX, "\n".join(sorted(self._indexed() - {name})))
        (self._folder / name).unlink(missing_ok=True)
        return known

    def _account(self, name: str) -> str:
        return f"{self._folder.parent}:{name}"

    def _indexed(self) -> _Names:
        try:
            return set((self._folder / _INDEX).read_text("utf-8").split())
        except FileNotFoundError:
            return set()

    def _write(self, name: str, text: str) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._folder / f".{name}.{random.token_hex(4)}.part"
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(part, self._folder / name)


def _check(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ToolFailed(
            "The secret's name cannot be used",
            f"{name[:40]!r} does not fit.",
            "Use capitals, digits and _, such as OPENAI_API_KEY.",
        )


def _answering_keyring() -> Any:
    """The keyring's backend, only when it can keep and give back a value; many machines have one that cannot."""
    try:
        import keyring
        from keyring.backends import fail

        backend = keyring.get_keyring()
        if isinstance(backend, fail.Keyring) or backend.priority < 1:
            return None
        probe, value = f"probe:{os.getpid()}", random.token_hex(8)
        backend.set_password(SERVICE, probe, value)
        answered = backend.get_password(SERVICE, probe) == value
        backend.delete_password(SERVICE, probe)
        return backend if answered else None
    except Exception:  # a keyring's backend may raise anything; no keyring is a normal answer
        return None
