"""The one place where the rooms meet: builds the door, and the workshop on top of it."""

from pathlib import Path

from agent.brain.brain import Brain
from agent.brain.choose import choose_brain
from agent.door import Door
from agent.home import HomeLock, prepare_home
from agent.secrets import SecretStore
from agent.settings import Settings, SettingsError
from agent.workshop import Workshop
from policies.book import Book, BookBroken
from policies.gateway import Gateway
from policies.people import People
from policies.tool import ToolFailed
from tools.azure.choice import AzureChoice
from tools.places import Places
from tools.toolbox import build_toolbox


def build_door(settings: Settings, *, lock: HomeLock | None = None) -> Door:
    """Open a home under its lock: enough for `call`. `lock` is one already taken by this process.

    Raises ToolFailed: kind `locked` when another process serves the home, `book` when its book or its keys cannot be used.
    """
    if settings.database_url:
        raise SettingsError("LUTHIER_DATABASE_URL cannot be used yet", "this version keeps its book in SQLite.", "Leave it unset.")
    home = prepare_home(settings.home)
    lock = (lock or HomeLock(home)).take()
    try:
        return _open(settings, home, lock)
    except BookBroken as broken:
        raise ToolFailed(broken.what, broken.because, broken.try_next, kind="book") from broken


def _open(settings: Settings, home: Path, lock: HomeLock) -> Door:
    try:
        places = build_places(settings)
        book = Book.open(home / "book.sqlite")
    except BaseException:
        lock.release()
        raise
    try:
        # The tools read the policy that the gateway has in force, which is there before any of them is called.
        secrets = SecretStore(home / "secrets")
        toolbox = build_toolbox(places, book, lambda: gateway.policy, azure=build_choice(settings), secret=secrets.get)
        people = People(book)
        gateway = Gateway.open(home=home, tools=toolbox.tools, book=book, people=people, defaults=toolbox.defaults)
    except BaseException:
        book.close()
        lock.release()
        raise
    return Door(settings, places, book, gateway, toolbox, people, secrets, lock)


def build_places(settings: Settings) -> Places:
    """Where things lie, from the settings."""
    given = {"bundled": settings.bundled} if settings.bundled else {}
    return Places(root=settings.root, home=settings.home, data=settings.data_folders(), accelerator=settings.engine(),
                  machine_lock=settings.machine_lock(), **given)


def build_choice(settings: Settings) -> AzureChoice:
    """What was chosen about Azure, from the settings; what was left out is as the tools have it."""
    given = {"image": settings.azure_image} if settings.azure_image else {}
    return AzureChoice(subscription=settings.azure_subscription, group=settings.azure_group, region=settings.azure_region,
                       sign_in=settings.azure_sign_in, endpoint=settings.azure_endpoint, ca=settings.azure_ca, **given)


def build_workshop(door: Door, brain: Brain | None = None) -> Workshop:
    """The conversation over an open door. Call its `start()` and, at the end, its `close()`."""
    return Workshop(door, brain or choose_brain(door.settings, door.secrets))
