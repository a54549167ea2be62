"""A home with a book and an allowed folder on a temporary path, and stand-ins for the model folder and the preview child."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue
from tokenizers import Tokenizer, models, pre_tokenizers

from policies.book import Book
from policies.tool import Call, ToolFailed
from tools.datasets.refs import DataFile, Refs, open_beneath
from tools.datasets.store import DataStore
from tools.places import Places

CALL = Call("call-1", "owner")
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} {{ eos_token }}{% endfor %}"


class DataWorld:
    """`samples` is the allowed folder, beside the home's own `data`."""

    def __init__(self, root: Path) -> None:
        self.samples = root / "project" / "samples"
        self.outside = root / "outside"
        for folder in (self.samples, self.outside):
            folder.mkdir(parents=True)
        self.places = Places(root / "project", root / "home")
        self.book = Book.open(self.places.home / "book.sqlite")
        self.refs = Refs(self.places, self.book)
        self.store = DataStore(self.places, self.book)

    def put(self, name: str, content: str | bytes | Iterable[Mapping[str, object]]) -> str:
        """Write a sample, rows as JSON Lines, and give its reference."""
        self.write(self.samples / name, content)
        return f"samples/{name}"

    def outside_file(self, name: str, content: str | bytes | Iterable[Mapping[str, object]]) -> Path:
        """Write a file that no reference reaches."""
        return self.write(self.outside / name, content)

    @staticmethod
    def write(path: Path, content: str | bytes | Iterable[Mapping[str, object]]) -> Path:
        """Write text, bytes or rows."""
        if not isinstance(content, str | bytes):
            content = "".join(json.dumps(row) + "\n" for row in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def close(self) -> None:
        """Let go of the book."""
        self.book.close()


def open_file(path: Path) -> DataFile:
    """A file as a reference would open it."""
    fd, size = open_beneath(path.parent, (path.name,), path.name)
    return DataFile(path, size, path.name, fd)


def pairs(count: int, start: int = 0) -> list[dict[str, str]]:
    """Rows in the prompt format that have no word 3-gram in common."""
    return [
        {"prompt": f"what{n} about{n} the{n} matter{n} number{n}", "completion": f"answer {n % 7}"} for n in range(start, start + count)
    ]


@dataclass(frozen=True)
class Folder:
    """A model folder."""

    id: str
    path: Path


class OneModel:
    """Knows the model `bundled` and no other."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def folder(self, model: str, /) -> Folder:
        """The folder, or ToolFailed as the catalogue says it."""
        if model != "bundled":
            raise ToolFailed("No such model", "the catalogue does not know it.", "See list_models.", kind="model")
        return Folder(model, self._path)


def model_folder(path: Path, template: str | None = TEMPLATE) -> Path:
    """A folder with a tokenizer of whole words: one token for each word."""
    path.mkdir(parents=True)
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path / "tokenizer.json"))
    config = {"eos_token": {"content": "<end>"}} | ({} if template is None else {"chat_template": template})
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


class WordPreviewer:
    """Renders the words of a row, and says that those of the last turn carry loss."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, JsonValue]] = []

    def render(self, model_dir: Path, row: Mapping[str, JsonValue], max_length: int, /) -> Mapping[str, JsonValue]:
        """The preview child's reply."""
        self.rows.append(row)
        turns = row.get("messages")
        texts = [str(turn["content"]) for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else [str(row.get("text"))]
        tokens: list[JsonValue] = [
            {"id": 0, "text": word, "in_loss": turn == len(texts) - 1} for turn, text in enumerate(texts) for word in text.split()
        ]
        return {"rendered": "\n".join(texts), "tokens": tokens}
