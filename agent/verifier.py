"""How the stand-alone verifier is run: as a program of its own, so that it works on a broken home and imports nothing of ours."""

import sys
from collections.abc import Sequence
from pathlib import Path


def verifier(root: Path, home: Path, options: Sequence[str] = ()) -> list[str]:
    """The command that verifies the book of `home`; `root` is the project's folder."""
    return [sys.executable, "-I", str(root / "policies" / "audit" / "verify.py"), str(home / "book.sqlite"), *options]
