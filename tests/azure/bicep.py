"""Reads the part of Bicep that infra/main.bicep is written in: parameters, variables, resources, literals and loops."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TOKEN = re.compile(r"""\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<number>\d+)|(?P<word>[A-Za-z_]\w*)|(?P<sign>[{}\[\]():,.=@?]|\n))""")
_DECLARED = re.compile(r"^(param|var|resource)\s+(\w+)\s*", re.M)


@dataclass(frozen=True)
class Expression:
    """What only Azure can work out, such as a key: its text, and the names in it."""

    text: str
    names: frozenset[str]


@dataclass
class Declared:
    """One resource of the file."""

    symbol: str
    type: str
    version: str
    body: dict[str, Any]
    needs: set[str] = field(default_factory=set)
    """Symbols of the resources that must be there before."""


class Bicep:
    """One file, with the parameters that were given."""

    def __init__(self, path: Path, given: dict[str, Any]) -> None:
        self._text = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
        self.parameters: dict[str, bool] = {}
        """Name, and whether it has a default."""
        self._known: dict[str, Any] = {}
        self.resources: dict[str, Declared] = {}
        for found in _DECLARED.finditer(self._text):
            kind, name = found.groups()
            rest = self._text[found.end():]
            if kind == "param":
                default = re.match(r"\w+[ \t]*(=)?", rest)
                assert default is not None
                self.parameters[name] = bool(default.group(1))
                self._known[name] = given[name] if name in given else self._value(rest[default.end():])
            elif kind == "var":
                self._known[name] = self._value(rest.partition("=")[2])
            else:
                head = re.match(r"'([^'@]+)@([^']+)'\s*=", rest)
                assert head is not None, rest[:60]
                self._needed: set[str] = set()
                body = self._value(rest[head.end():])
                self.resources[name] = Declared(name, head.group(1), head.group(2), body, self._needed)
                self._known[name] = Expression(name, frozenset({name}))

    def _value(self, text: str) -> Any:
        self._tokens = [(kind, part) for kind, part in _tokens(text)]
        self._at = 0
        return self._read({})

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> str:
        part = self._peek()
        assert not wanted or part == wanted, (wanted, self._tokens[max(0, self._at - 5):self._at + 5])
        self._at += 1
        return part

    def _skip(self) -> None:
        while self._peek() in ("\n", ","):
            self._at += 1

    def _read(self, local: dict[str, Any]) -> Any:
        kind, part = self._tokens[self._at]
        if part == "{":
            return self._object(local)
        if part == "[":
            return self._array(local)
        if kind == "string":
            self._at += 1
            return self._string(part[1:-1], local)
        if kind == "number":
            self._at += 1
            return int(part)
        return self._expression(local)

    def _object(self, local: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._take("{")
        self._skip()
        while self._peek() != "}":
            key = self._take().strip("'")
            self._take(":")
            found[key] = self._read(local)
            self._skip()
        self._take("}")
        return found

    def _array(self, local: dict[str, Any]) -> list[Any]:
        self._take("[")
        self._skip()
        if self._peek() == "for":
            self._take()
            name = self._take()
            self._take("in")
            over, found = self._read(local), []
            self._take(":")
            start = self._at
            for each in over:
                self._at = start
                found.append(self._read({**local, name: each}))
            self._take("]")
            return found
        items: list[Any] = []
        while self._peek() != "]":
            items.append(self._read(local))
            self._skip()
        self._take("]")
        return items

    def _string(self, text: str, local: dict[str, Any]) -> str:
        def put(found: re.Match[str]) -> str:
            first, _, member = found.group(1).partition(".")
            return str(self._named(first, member, local))

        return re.sub(r"\$\{([^}]+)\}", put, text)

    def _named(self, first: str, member: str, local: dict[str, Any]) -> Any:
        if first in self.resources:
            self._needed.add(first)
            return self.resources[first].body["name"] if member == "name" else Expression(first, frozenset({first}))
        found = {**self._known, **local}.get(first)
        return Expression(f"{first}.{member}", frozenset()) if found is None or member else found

    def _expression(self, local: dict[str, Any]) -> Any:
        """A name, a member of it, or a call; calls are kept as text, with what they need."""
        text, depth = "", 0
        while self._at < len(self._tokens) and (depth or self._peek() not in ("\n", ",", "}", "]", ":")):
            part = self._take()
            depth += (part in ("(", "[")) - (part in (")", "]"))
            text += part
        if text in ("true", "false"):
            return text == "true"
        if re.fullmatch(r"\w+(\.name)?", text):
            first, _, member = text.partition(".")
            return self._named(first, member, local)
        names = {each for each in re.findall(r"\b\w+\b", text) if each in self.resources}
        self._needed |= names if hasattr(self, "_needed") else set()
        split = re.fullmatch(r"last\(split\((\w+)\.name,'/'\)\)", text)
        return str(self.resources[split.group(1)].body["name"]).rpartition("/")[2] if split else Expression(text, frozenset(names))


def _tokens(text: str) -> list[tuple[str, str]]:
    """Kind and text of each token of the first value; a new line outside of brackets ends it."""
    found, at, depth = [], 0, 0
    while at < len(text):
        if text[at] == "\n":
            if depth == 0 and found:
                break
            found.append(("sign", "\n"))
            at += 1
            continue
        if text[at] in " \t":
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            break
        part = match.group(0).strip()
        depth += (part in ("{", "[", "(")) - (part in ("}", "]", ")"))
        found.append((str(match.lastgroup), part))
        at = match.end()
    return found
