"""All the set-up for `make run`, and then the chat itself. When everything is there it starts nothing but the chat."""

import os
import select
import sys
from dataclasses import replace
from pathlib import Path

from install import space, torch
from install.bundled import is_ready, make_bundled
from install.choices import Choices, azure_layer, brains_layer, chat_environment, engine_environment, python_version
from install.environment import Environment, add_layer, begin, clear, fill, finish, lacks, need
from install.latch import latch
from install.progress import Progress, size
from install.trouble import SetupFailed

ANSWER_S = 20


def prepare(root: Path, choices: Choices, progress: Progress, extra_disk: dict[str, int] | None = None) -> None:
    """Make whatever is missing: the two environments, the brain's libraries, the bundled model."""
    chat, engine = chat_environment(root), engine_environment(root, choices)
    if is_prepared(root, choices, chat, engine):
        return
    with latch(root, progress):
        log = root / "out" / "install.log"
        version = python_version()
        clear(chat)
        clear(engine)
        reasons = {place.folder: need(place, version) for place in (chat, engine)}
        announce(root, choices, chat, engine, reasons, log, progress, extra_disk or {})
        for place, title in ((chat, "the chat environment"), (engine, "the training environment")):
            if reasons[place.folder]:
                if not place.part.exists():
                    begin(place, sys.executable)
                progress.step(f"Making {title}, {place.folder.name} …")
                fill(place, torch.torch_arguments(choices.torch_index), log, progress)
                finish(place, version)
                progress.step(f"{place.folder.name} is ready.")
        if choices.brain and lacks(chat, brains_layer(root)):
            progress.step("Adding the libraries for LUTHIER_BRAIN …")
            add_layer(chat, brains_layer(root), log, progress)
        if choices.azure and lacks(chat, azure_layer(root)):
            progress.step("Adding the client libraries of Azure …")
            add_layer(chat, azure_layer(root), log, progress)
        if not is_ready(root):
            progress.step("Making the bundled model, .bundled …")
            make_bundled(root, engine, log, progress)
            progress.step(".bundled is ready.")


def is_prepared(root: Path, choices: Choices, chat: Environment, engine: Environment) -> bool:
    """Whether nothing is to be done; reads a few small files."""
    version = python_version()
    leftover = any(place.part.exists() or place.old.exists() for place in (chat, engine))
    wanted = need(chat, version) or need(engine, version) or (choices.brain and lacks(chat, brains_layer(root)))
    wanted = wanted or (choices.azure and lacks(chat, azure_layer(root)))
    return not leftover and not wanted and is_ready(root)


def announce(root: Path, choices: Choices, chat: Environment, engine: Environment, reasons: dict[Path, str], log: Path,
             progress: Progress, extra_disk: dict[str, int]) -> None:
    """Say what will be downloaded, from what is known and what the index says, and what it takes on disk; refuse without room."""
    progress.line("Luthier sets itself up. Downloads stay in pip's cache, so stopping (Ctrl-C) and starting again costs little.")
    downloads, disk = {}, dict(extra_disk)
    for place in (chat, engine):
        if reasons[place.folder]:
            progress.line(f"  {place.folder.name}: {reasons[place.folder]}")
    if reasons[chat.folder]:
        downloads["chat"], disk[".venv"] = space.CHAT_DOWNLOAD, space.CHAT_BYTES
    warning = ""
    if reasons[engine.folder]:
        space.check_space(root, {engine.folder.name: space.ENGINE_BYTES})
        python = begin(engine, sys.executable)
        progress.update("asking the index which build of torch it offers")
        build = torch.ask_index(python, choices.torch_index, engine.part / "tmp", log)
        progress.line(f"  {build.words()}")
        downloads["training, with torch"] = space.ENGINE_DOWNLOAD + build.download_bytes
        disk[engine.folder.name] = space.ENGINE_BYTES + build.disk_bytes
        warning = torch.advice(build, torch.has_nvidia(), choices.accelerator)
        if choices.accelerator == "cuda" and build.kind != "cuda":
            raise SetupFailed("making .engine-cuda", warning, "Or leave LUTHIER_ACCELERATOR out for the CPU environment.")
    if not is_ready(root):
        downloads["bundled model"], disk[".bundled"] = space.MODEL_DOWNLOAD, space.MODEL_BYTES
    if downloads:
        parts = ", ".join(f"{name} {size(count)}" for name, count in downloads.items())
        progress.line(f"To download: about {size(sum(downloads.values()))} ({parts}), less what pip's cache holds.")
    progress.line(space.check_space(root, disk))
    if warning:
        progress.line(f"\nNote: {warning}\n")
        wait_for_person(progress)


def add_azure(root: Path, choices: Choices, progress: Progress) -> None:
    """The set-up with the client libraries of Azure; `make run` keeps them from then on."""
    choices = replace(choices, azure=True)
    extra = {"Azure's client libraries": space.AZURE_BYTES} if lacks(chat_environment(root), azure_layer(root)) else {}
    prepare(root, choices, progress, extra)
    progress.step("The client libraries of Azure are there. Sign in with `az login`, and start Luthier with `make run`.")


def wait_for_person(progress: Progress) -> None:
    """On a terminal, leave time to stop before a large download; elsewhere go on at once."""
    if not sys.stdin.isatty():
        return
    progress.line(f"Going on with this build in {ANSWER_S} s; Enter goes on now, Ctrl-C stops.")
    select.select([sys.stdin], [], [], ANSWER_S)


def run(root: Path, choices: Choices, progress: Progress) -> None:
    """Set up and become the chat server."""
    prepare(root, choices, progress)
    os.chdir(root)
    sys.stdout.flush()
    python = str(chat_environment(root).python)
    os.execv(python, [python, "-m", "ui"])
