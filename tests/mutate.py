"""`python -m tests.mutate [WORD …]`: take each condition of the gate away in turn; at least one test must fail.

Mutants of the rules are asked all cases of policies/cases/. Each mutant of our code runs the tests of its file in a child
process, with the changed source in the module's place; nothing on disk is touched. Words choose mutants by name.
Prints a table; exit status 1 when one survives, 2 when the unchanged code does not pass.
"""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

import pytest

from policies.policy import Policy
from tests.mutants import ROOT, CodeMutant, code_mutants, rule_mutants

AT_ONCE = os.cpu_count() or 2
LIMIT_S = 240
FAILED = 1
"""Exit status of pytest when tests ran and some failed."""
EQUIVALENT: dict[str, str] = {}
"""`CodeMutant.key` → why the gate is as safe without it."""


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module another source."""

    def __init__(self, module: str, path: Path, source: str) -> None:
        self._module, self._path, self._source = module, path, source

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """Only that module."""
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self) if fullname == self._module else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed source under the name of the file."""
        exec(compile(self._source, str(self._path), "exec"), module.__dict__)


@dataclass
class Trial:
    """One child process that runs some test modules, perhaps over a changed module, until the first failure."""

    name: str
    tests: Sequence[str]
    mutant: CodeMutant | None
    said: Path
    began: float = field(default_factory=time.monotonic)
    child: BaseProcess | None = None

    def start(self) -> "Trial":
        """Forked, because pytest and the libraries are then loaded already."""
        self.child = multiprocessing.get_context("fork").Process(target=self._run)
        self.child.start()
        return self

    def found(self) -> str:
        """What became of it: the test that failed first, `SURVIVES`, or what went wrong; empty while it runs."""
        assert self.child is not None
        if self.child.is_alive():
            if time.monotonic() - self.began < LIMIT_S:
                return ""
            self.child.kill()
            self.child.join()
            return "it never ended"
        words = self.said.read_text("utf-8", errors="replace") if self.said.exists() else ""
        if self.child.exitcode == 0:
            return "SURVIVES"
        failed = re.search(r"^(?:FAILED|ERROR) tests/policies/(\S+)", words, re.MULTILINE)
        # A module that cannot even be imported any more is noticed by whoever starts it.
        return failed.group(1)[:80] if failed else f"does not start ({self.child.exitcode})"

    def _run(self) -> None:
        for name in [name for name in sys.modules if name.split(".")[0] in ("policies", "tests") and name != "tests"]:
            del sys.modules[name]
        if self.mutant is not None:
            sys.meta_path.insert(0, Changed(self.mutant.module, ROOT / self.mutant.file, self.mutant.source))
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=line", "-rfE", "-o", "addopts=", *self.tests])
        self.said.write_text(said.getvalue(), "utf-8")
        os._exit(int(status))


def try_all(mutants: Iterable[CodeMutant], folder: Path) -> Iterator[tuple[str, str]]:
    """The name of each mutant and what became of it, as they end; `AT_ONCE` at a time."""
    waiting, running, count = list(mutants)[::-1], list[Trial](), 0
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            mutant, count = waiting.pop(), count + 1
            running.append(Trial(mutant.name, mutant.tests, mutant, folder / f"{count}.txt").start())
        wait([trial.child.sentinel for trial in running if trial.child is not None], timeout=1)
        for trial in list(running):
            found = trial.found()
            if found:
                running.remove(trial)
                reason = EQUIVALENT.get(trial.mutant.key, "") if trial.mutant is not None else ""
                yield trial.name, f"spared: {reason}" if reason and found == "SURVIVES" else found


def main(words: list[str]) -> int:
    """Try every mutant that the words name, or all."""
    began, policy = time.monotonic(), Policy.load()
    wanted = [mutant for mutant in code_mutants() if not words or any(word in mutant.name for word in words)]
    rows = [(f"rules {mutant.name}", "SURVIVES" if mutant.survives(policy) else "the cases") for mutant in rule_mutants()
            if not words or any(word in f"rules {mutant.name}" for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        tests = list(dict.fromkeys(test for mutant in wanted for test in mutant.tests))
        whole = Trial("the unchanged code", tests, None, Path(folder, "0.txt")).start()
        assert whole.child is not None
        whole.child.join(LIMIT_S)
        if tests and whole.found() != "SURVIVES":
            print(f"The unchanged code does not pass its tests: {whole.found()}")
            return 2
        for row in try_all(wanted, Path(folder)):
            rows.append(row)
            print(f"{row[1]:<80} {row[0]}", flush=True)
    alive = [name for name, found in rows if found == "SURVIVES"]
    for name in alive:
        print(f"SURVIVES: {name}")
    minutes = (time.monotonic() - began) / 60
    print(f"{len(rows)} mutants, {len(rows) - len(alive)} noticed, {len(alive)} not; {minutes:.1f} min")
    return 1 if alive or not rows else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
