"""The book's schema: which revisions this program knows, and how an older book becomes a newer one."""

import re
import uuid
from pathlib import Path

from sqlalchemy import Engine, inspect, text

from policies.tables import meta

MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaNewer(Exception):
    """The book has a revision that this program does not know."""

    def __init__(self, found: str, known: str) -> None:
        super().__init__(found, known)
        self.because = f"its schema {found} is newer than this program knows ({known})."
        self.try_next = "Use the newer Luthier that wrote it, or another LUTHIER_HOME."


def revisions() -> list[str]:
    """The schema revisions this program knows, oldest first, by the names of their files."""
    found = (re.match(r"(\d{4})_\w+\.py$", one.name) for one in (MIGRATIONS / "versions").iterdir())
    return sorted(one.group(1) for one in found if one)


def migrate(engine: Engine) -> None:
    """Bring a book up to date in one transaction, and name a new one. Raises SchemaNewer, and nothing is changed."""
    known = revisions()
    with engine.connect() as conn, conn.begin():
        current = None
        if inspect(conn).has_table("alembic_version"):
            current = conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        if current == known[-1]:
            return
        if current is not None and current not in known:
            raise SchemaNewer(current, known[-1])
        from alembic import command  # only when there is something to do: an up-to-date start stays quick and small
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = conn
        command.upgrade(config, "head")
        conn.execute(meta.insert().prefix_with("OR IGNORE").values(key="home", value=uuid.uuid4().hex))
