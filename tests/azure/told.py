"""What a person is told when Azure refuses."""

from collections.abc import Callable
from typing import Any

import pytest

from tools.azure.trouble import AzureTrouble


def trouble_of(work: Callable[[], Any]) -> AzureTrouble:
    """The trouble that it raises; the test fails when it raises none."""
    with pytest.raises(AzureTrouble) as raised:
        work()
    return raised.value
