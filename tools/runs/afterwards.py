"""The machine as it will be when the run at work has ended: what a run that has to wait is planned for."""

from dataclasses import replace

from tools.hardware import Machine, Memory
from tools.places import Accelerator


def when_free(machine: Machine, held_bytes: int, threads: int, accelerator: Accelerator) -> Machine:
    """`machine` without a run that holds so many bytes and keeps so many threads busy. Pure; never more than there is in all."""
    if accelerator == "cuda":
        freed = tuple(replace(g, memory_free_bytes=min(g.memory_total_bytes, g.memory_free_bytes + held_bytes)) for g in machine.gpus)
        return replace(machine, gpus=freed)
    memory = Memory(machine.memory.total_bytes, min(machine.memory.total_bytes, machine.memory.available_bytes + held_bytes))
    return replace(machine, memory=memory, load=max(0.0, machine.load - threads))
