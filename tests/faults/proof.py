"""The mark of a test that proves what becomes of one fault; docs/faults.md is written from it."""

import os
import re
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T", bound=Callable[..., object])
WHOLE = "LUTHIER_FAULTS" in os.environ
"""Whether every point and every n is asked for; otherwise a sample of them is driven."""


def proves(number: str, fault: str, expected: str) -> Callable[[T], T]:
    """Say that a test proves fault `number` (F1, F2, …): what happens, and what is expected then. The test itself is unchanged."""
    if not re.fullmatch(r"F\d{1,2}", number) or "|" in fault + expected:
        raise ValueError(f"{number}: a fault is called F and a number, and its words hold no bar.")
    return lambda test: test
