"""One pass over a dataset: its shape, its faults, and which side of the split each row is on."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from policies.tool import ToolFailed
from tools.datasets.problem import Findings, Problem
from tools.datasets.read import Row, read_rows
from tools.datasets.refs import DataFile, digest_of
from tools.datasets.scan import Scan
from tools.datasets.shape import KNOWN, Example, Shape, recognise
from tools.datasets.split import Division, divide, item

FEWEST_ROWS = 4
"""With fewer there is nothing to learn from and nothing to test on."""
FEW_ROWS = 20
"""Tried: 10 to 15 rows end a run before an adapter is worth keeping."""
GOOD_ROWS = 50
LOOKED_AT = 20
"""Rows that are tried for a known shape, from the start of the file."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass found. Holds row numbers and hashes, no texts."""

    shape: Shape
    rows: int
    """Rows that can be learned or tested on."""
    rejected: int
    """Rows in the file that are left out."""
    numbers: tuple[int, ...]
    """Where the rows lie in the file, in its order."""
    division: Division
    findings: Findings
    digest: str
    """sha256 of the file."""

    @property
    def ok(self) -> bool:
        """Whether a run may use the dataset."""
        return self.findings.first_error is None


def survey(file: DataFile, seed: int = 0, see: Callable[[Example], None] = lambda _: None) -> Survey:
    """Read the whole file once; `see` is shown every row that is kept. Raises ToolFailed for a file that cannot be read at all."""
    findings, digest = Findings(), digest_of(file.fd)
    if file.registered_digest and file.registered_digest != digest:
        raise ToolFailed(
            f"{file.ref} cannot be used", "the file is no longer the one that was registered (its sha256 differs).",
            "Add the dataset again with add_dataset.", kind="changed",
        )
    shape = shape_of(file)
    scan, items, numbers, rejected, answers = Scan(findings), [], [], 0, set[bytes]()
    for number, example in _examples(file, shape, findings):
        if example is None or not scan.keep(example, number):
            rejected += 1
            continue
        items.append(item(example.prompt, example.group, example.split))
        numbers.append(number)
        if len(answers) < 2:
            answers.add(hashlib.blake2b(example.answer.encode(), digest_size=16).digest())
        see(example)
    division = divide(items, seed)
    if blocked := _blocked(shape):
        # A file of which no row could be read has no fields to be renamed.
        if shape.columns or findings.first_error is None:
            findings.add(blocked)
    else:
        findings.extend(_judged(len(items), rejected, division))
        if len(answers) == 1 and len(items) >= FEWEST_ROWS and shape.format != "text":
            findings.add(Problem("warning", "one_answer", "Every row has the same answer.", "Add rows with other answers."))
    return Survey(shape, len(items), rejected, tuple(numbers), division, findings, digest)


def shape_of(file: DataFile) -> Shape:
    """The shape of the first row that shows a known one."""
    shape, looked = Shape("unknown", ()), 0
    for row in read_rows(file):
        if isinstance(row, Row):
            looked += 1
            found = recognise(row.value)
            if found.format != "unknown":
                return found
            shape = shape if shape.columns else found
        if looked >= LOOKED_AT:
            break
    return shape


def examples(file: DataFile, shape: Shape) -> Iterator[tuple[int, Example]]:
    """Number and example of each row that can be used, in the file's order, faults left out."""
    for number, example in _examples(file, shape, Findings()):
        if example is not None:
            yield number, example


def _examples(file: DataFile, shape: Shape, findings: Findings) -> Iterator[tuple[int, Example | None]]:
    if shape.format in ("preference", "unknown"):
        findings.extend(row for row in read_rows(file) if isinstance(row, Problem))
        return
    for row in read_rows(file):
        made = row if isinstance(row, Problem) else shape.turn(row.value, row.number)
        if isinstance(made, Problem):
            findings.add(made)
            yield made.row or 0, None
        else:
            yield row.number if isinstance(row, Row) else 0, made


def _blocked(shape: Shape) -> Problem | None:
    if shape.format == "preference":
        return Problem(
            "error", "preference", "These are preferences (a better and a worse answer, or a thumbs up or down), not examples to imitate.",
            "Keep each prompt with its better answer as prompt and completion; tuning on preferences is not offered.",
        )
    if shape.format == "unknown":
        return Problem("error", "unknown_format", "No row shows fields that are known here.", f"Rename the fields. {KNOWN}")
    return None


def _judged(rows: int, rejected: int, division: Division) -> Iterator[Problem]:
    """What the numbers say about the whole."""
    if rows < FEWEST_ROWS:
        yield Problem(
            "error", "too_few", f"{rows} usable rows are too few: at least {FEWEST_ROWS} are needed.",
            f"Add rows; {GOOD_ROWS} are a good start.",
        )
        return
    if rejected > rows:
        yield Problem("error", "mostly_rejected", f"{rejected} of {rows + rejected} rows cannot be used.", "Repair the rows named below.")
    if not division.count("test"):
        yield Problem(
            "error", "no_held_out", "No row can be held out: all rows are near-duplicates of each other, or one group.",
            "Add rows that differ, so that the result can be tested on rows it has not seen.",
        )
    elif not division.count("train"):
        yield Problem("error", "no_train", "Every row is held out; none is left to learn from.", "Mark fewer rows as test or validation.")
    if rows < FEW_ROWS:
        yield Problem(
            "warning", "few_rows", f"{rows} rows teach a model next to nothing, and its score will be mostly chance.",
            f"Add rows; {GOOD_ROWS} are a good start.",
        )
    if division.moved:
        yield Problem(
            "warning", "leakage", f"{division.moved} rows marked for one side say nearly the same as held-out rows; they are held out too.",
            "Remove them, or mark both sides alike.",
        )
    if division.near_duplicates:
        yield Problem(
            "info", "near_duplicates", f"{division.near_duplicates} rows are nearly the same as another; such rows stay on one side.",
            "Nothing to do; remove them if they are not meant.",
        )
