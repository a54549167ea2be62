"""How busy the GPU is, as the driver says it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.tools.fakes_machine import RTX_4090, FakeNvml
from tools.gpus import GpuUse, NvmlFailure


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("nvml", "use"), [
    (lambda: FakeNvml(replace(RTX_4090, use=0.93)), 0.93),
    (lambda: FakeNvml(RTX_4090), None),
    (lambda: FakeNvml(NvmlFailure("lost", "x")), None),
    (lambda: FakeNvml(broken=NvmlFailure("no_library", "x")), None),
], ids=["busy", "the driver does not say", "the gpu is lost", "no driver"])
def test_the_use_is_what_the_driver_says_or_nothing(nvml: Callable[[], FakeNvml], use: float | None) -> None:
    assert GpuUse(nvml())() == use


def test_the_driver_is_asked_once_a_second_at_most() -> None:
    nvml, clock = FakeNvml(replace(RTX_4090, use=0.5)), Clock()
    use = GpuUse(nvml, clock)
    assert use() == 0.5
    nvml.devices = (replace(RTX_4090, use=0.9),)
    clock.now = 0.9
    assert use() == 0.5
    clock.now = 1.1
    assert use() == 0.9
