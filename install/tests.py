"""What `make test` and `make check` need on top of `make run`: two more layers and a browser."""

from dataclasses import replace
from pathlib import Path

from install import space
from install.browser import get_browser
from install.choices import Choices, chat_environment, dev_layer, engine_environment, engine_test_layer
from install.environment import add_layer, lacks
from install.latch import latch
from install.progress import Progress
from install.run import prepare


def prepare_checks(root: Path, choices: Choices, progress: Progress) -> None:
    """Environments, the bundled model, and the layers that hold pytest, ruff, pyright and the rest. Tests train on the CPU."""
    choices = replace(choices, accelerator="cpu")
    chat, engine = chat_environment(root), engine_environment(root, choices)
    prepare(root, choices, progress, {"tests": space.DEV_BYTES} if lacks(chat, dev_layer(root)) else {})
    wanted = [(place, layer) for place, layer in ((chat, dev_layer(root)), (engine, engine_test_layer(root))) if lacks(place, layer)]
    if not wanted:
        return
    with latch(root, progress):
        progress.line(space.check_space(root, {"tests": space.DEV_BYTES}))
        for place, layer in wanted:
            progress.step(f"Adding what the tests need to {place.folder.name} …")
            add_layer(place, layer, root / "out" / "install.log", progress)


def prepare_tests(root: Path, choices: Choices, progress: Progress) -> None:
    """The same, and a browser."""
    prepare_checks(root, choices, progress)
    get_browser(chat_environment(root).python, root / "out" / "install.log", progress, ci=choices.ci)
