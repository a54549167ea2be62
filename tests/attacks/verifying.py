"""The verifier as an auditor runs it: the file, as a program, on a book."""

import re
import subprocess
import sys
from pathlib import Path

from tests.tools.fakes_runs import ROOT

VERIFIER = ROOT / "policies" / "audit" / "verify.py"


def verified(book: Path, *options: str) -> tuple[int, str]:
    """Exit status and words of the verifier."""
    ended = subprocess.run([sys.executable, str(VERIFIER), str(book), *options], capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def first_bad(words: str) -> int | None:
    """The first bad number that it names."""
    found = re.search(r"\bseq (\d+)|(?:record|number) (\d+)", words)
    return int(next(filter(None, found.groups()))) if found else None
