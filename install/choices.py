"""What the person chose by environment variables, as far as the set-up needs it, and the environments that follow from it."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from install import torch
from install.environment import Environment, Layer, read_stamp
from install.trouble import SetupFailed

OF_TESTS = ("LUTHIER_AZURE_CONTRACT", "LUTHIER_AZURE_LIVE")
"""Variables of the tests, which are no settings."""


@dataclass(frozen=True)
class Choices:
    """The settings that the set-up reads; all others belong to `agent/settings.py`."""

    accelerator: str = "cpu"
    torch_index: str = ""
    brain: str = ""
    azure: bool = False
    """Whether the clients of Azure are wanted: a setting of Azure is there, or they have been added before."""
    ci: bool = False

    @classmethod
    def read(cls, root: Path, env: Mapping[str, str] | None = None) -> "Choices":
        """Read the variables. `auto` is the CPU environment, until a GPU environment has been asked for by name and made."""
        found = os.environ if env is None else env
        accelerator = found.get("LUTHIER_ACCELERATOR", "auto") or "auto"
        if accelerator not in {"auto", "cpu", "cuda"}:
            raise SetupFailed("reading LUTHIER_ACCELERATOR", f"it says {accelerator!r}.", "Set it to auto, cpu or cuda, or leave it out.")
        if accelerator == "auto":
            accelerator = "cuda" if (root / ".engine-cuda" / "bin" / "python").exists() else "cpu"
        return cls(
            accelerator=accelerator,
            torch_index=found.get("LUTHIER_TORCH_INDEX", ""),
            brain=found.get("LUTHIER_BRAIN", ""),
            azure=any(found.get(name) for name in found if name.startswith("LUTHIER_AZURE_") and name not in OF_TESTS) or has_azure(root),
            ci=bool(found.get("CI")),
        )


def chat_environment(root: Path) -> Environment:
    """`.venv`, in which the chat server runs."""
    return Environment(root / ".venv", Layer("chat", root / "locks" / "chat.txt"))


def engine_environment(root: Path, choices: Choices) -> Environment:
    """`.engine-cpu` or `.engine-cuda`, in which models are trained and answer."""
    name = f"engine-{choices.accelerator}"
    return Environment(root / f".{name}", Layer(name, root / "locks" / f"{name}.txt"), torch.VERSION, choices.torch_index)


def brains_layer(root: Path) -> Layer:
    """The hosted and local chat models' client libraries."""
    return Layer("brains", root / "locks" / "brains.txt")


def azure_layer(root: Path) -> Layer:
    """The client libraries of Azure."""
    return Layer("azure", root / "locks" / "azure.txt")


def has_azure(root: Path) -> bool:
    """Whether they have been added to the chat environment, in whatever version."""
    stamp = read_stamp(root / ".venv")
    return stamp is not None and "azure" in stamp.layers


def dev_layer(root: Path) -> Layer:
    """What the tests and checks need in `.venv`."""
    return Layer("dev", root / "locks" / "dev.txt")


def engine_test_layer(root: Path) -> Layer:
    """What the engine's own tests need in its environment."""
    return Layer("engine-test", root / "locks" / "engine-test.txt")


def python_version() -> str:
    """`3.11`: what an environment is bound to."""
    return ".".join(platform.python_version_tuple()[:2])
