"""What a person chose about Azure: passed in once, never read from the environment here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DEFAULT_IMAGE = "docker.io/pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime"
"""A public PyTorch CUDA runtime in the version of the engine's torch; resolved to a digest before anything runs by it."""

Sign = Literal["default", "cli", "workload", "managed"]


@dataclass(frozen=True, slots=True)
class AzureChoice:
    """The `LUTHIER_AZURE_*` settings."""

    subscription: str = ""
    """Subscription id; empty: the only one of the sign-in."""
    group: str = ""
    """Resource group to work in; empty: one of our own, named after the workspace."""
    region: str = ""
    """Region for what is made; empty: the first allowed one that has GPUs."""
    image: str = DEFAULT_IMAGE
    sign_in: Sign = "default"
    """Which credential is used; `default` tries them in the order of DefaultAzureCredential."""
    endpoint: str = ""
    """Tests only: `https://127.0.0.1:PORT` in place of Azure. Anything but loopback is refused where it is read."""
    ca: Path | None = None
    """Tests only: the certificate authority of `endpoint`."""
