"""What is prepared in Azure: the group, environment, storage and logs that runs and deployments of one region share."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from policies.book import Book, now_text
from policies.cloud_tables import cloud_places

RUN_MOUNT, ENGINE_MOUNT, MODELS_MOUNT, SECRETS_MOUNT = "/luthier/run", "/luthier/engine", "/luthier/models", "/luthier/secrets"
"""Where the folders of the share, and the job's secrets as files, lie in a container."""
READ_WRITE, READ_ONLY = "luthier-rw", "luthier-ro"
"""The two storages of an environment, on the same share."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One workload profile of a region: what a replica of it is."""

    name: str
    """Azure's own name: `Consumption-GPU-NC8as-T4`, `Consumption`."""
    vcpu: float
    gib: float
    gpus: int = 0
    gpu: str = ""
    """`T4`, `A100`; empty without one."""
    gpu_gib: float = 0.0

    def is_called(self, wanted: str) -> bool:
        """Whether a person's word means it: any GPU (empty, `gpu`, `any`, `auto`), `cpu`, a GPU's name, or the profile's own name."""
        word = wanted.strip().lower()
        if word in {"", "gpu", "any", "auto"}:
            return bool(self.gpus)
        if word in {"cpu", "none"}:
            return not self.gpus
        said = set(re.split(r"[\s-]+", word)) - {"nvidia", "tesla"}
        known = {self.gpu.lower(), f"{self.gpu_gib:g}gb", *self.name.lower().split("-")}
        return word == self.name.lower() or (self.gpus > 0 and self.gpu.lower() in said and said <= known)


@dataclass(frozen=True, slots=True)
class CloudPlace:
    """A prepared region. Holds no key and no token."""

    subscription: str
    tenant: str
    group: str
    region: str
    environment: str
    environment_id: str
    domain: str
    """The environment's default domain."""
    account: str
    files: str
    """The account's file endpoint, `https://ACCOUNT.file.core.windows.net/`."""
    share: str
    log_workspace: str
    log_customer: str
    image: str
    """By digest: `HOST/NAME@sha256:…`."""
    image_named: str = ""
    """The tag it was resolved from."""
    profiles: tuple[str, ...] = ()
    group_is_ours: bool = False
    """Whether Luthier made the resource group."""

    def as_json(self) -> dict[str, JsonValue]:
        """Every field."""
        return {**asdict(self), "profiles": list(self.profiles)}


class PlaceStore:
    """The one owner of the table `cloud_places`: one prepared place a region."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def put(self, place: CloudPlace) -> None:
        """Keep a place, in place of what was known of its region."""
        values = {"region": place.region, "place_json": json.dumps(place.as_json()), "at": now_text()}
        changed = {key: values[key] for key in ("place_json", "at")}
        self._book.write(lambda db: db.execute(insert(cloud_places).values(**values).on_conflict_do_update(
            index_elements=[cloud_places.c.region], set_=changed)) and None)

    def all(self) -> list[CloudPlace]:
        """Every prepared place, the one prepared last first."""
        def read(db: Connection) -> list[CloudPlace]:
            return [_place(json.loads(row.place_json)) for row in db.execute(select(cloud_places).order_by(cloud_places.c.at.desc()))]

        return self._book.read(read)

    def get(self, region: str = "") -> CloudPlace | None:
        """The place of a region, or the one prepared last; None when nothing is prepared."""
        return next((each for each in self.all() if not region or each.region == region), None)

    def kept_at(self, region: str) -> str:
        """When a region's place was last kept, as ISO 8601 UTC; empty when there is none."""
        wanted = select(cloud_places.c.at).where(cloud_places.c.region == region)
        return self._book.read(lambda db: db.execute(wanted).scalar()) or ""

    def forget(self, region: str) -> None:
        """It is gone."""
        self._book.write(lambda db: db.execute(delete(cloud_places).where(cloud_places.c.region == region)) and None)


def plain(region: str) -> str:
    """`West US 3` and `westus3` as `westus3`."""
    return region.replace(" ", "").lower()


def _place(kept: Mapping[str, Any]) -> CloudPlace:
    known = {each.name for each in fields(CloudPlace)}
    return CloudPlace(**{**{k: v for k, v in kept.items() if k in known}, "profiles": tuple(kept.get("profiles", ()))})
