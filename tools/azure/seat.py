"""A place in the cloud as the estimates see a machine: its cores, its memory, its GPU, and what is free of each for a run."""

from tools.azure.place import Shape
from tools.gpus import Gpu
from tools.hardware import GIB, Machine, Memory
from tools.outlook import Seat
from tools.processor import Cpu

USABLE_GIB = {"T4": 14.5, "A100": 78.5}
"""What a program gets of each GPU: its driver and error correction keep the rest."""
CAPABILITY = {"T4": "7.5", "A100": "8.0"}
"""Compute capability: the T4 has no bfloat16, the A100 does."""
SYSTEM_GIB = 0.75
"""Main memory that the container's own programs need."""
DISK_GIB = 8
"""The whole disk of a container; models and results lie on the share."""


def machine_of(shape: Shape) -> Machine:
    """A replica of the shape with nothing else on it. A GPU that is not known computes as little as a T4."""
    memory = int(shape.gib * GIB)
    gpus = tuple(Gpu(number, "NVIDIA", shape.gpu, int(shape.gpu_gib * GIB), room_bytes(shape), "", CAPABILITY.get(shape.gpu, "7.5"))
                 for number in range(shape.gpus))
    return Machine(Cpu(f"Azure {shape.name}", max(1, int(shape.vcpu)), ("avx2",)), Memory(memory, max(0, memory - int(SYSTEM_GIB * GIB))),
                   gpus, disk_free_bytes=DISK_GIB * GIB, os="Linux")


def room_bytes(shape: Shape) -> int:
    """Bytes free for a run: of one GPU, or of main memory where there is none."""
    if shape.gpus:
        return int(USABLE_GIB.get(shape.gpu, shape.gpu_gib * 0.9) * GIB)
    return int(max(0.0, shape.gib - SYSTEM_GIB) * GIB)


def seat_of(shape: Shape, region: str) -> Seat:
    """Where a run on the shape would sit."""
    name = f"a {shape.gpu} in {region}" if shape.gpus else f"{shape.vcpu:g} cores in {region}"
    return Seat("cuda" if shape.gpus else "cpu", room_bytes(shape), where_of(shape, region), name)


def where_of(shape: Shape, region: str) -> str:
    """The place in words, as runs and deployments show it."""
    return f"Azure, {region}, {shape.name}"
