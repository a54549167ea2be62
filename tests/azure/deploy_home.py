"""A home whose Azure is the stand-in, with one region prepared and the gateway before its toolbox, for tests that deploy there."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from policies import ledger
from policies.book import Book
from policies.gateway import Gateway
from policies.people import People
from policies.policy import Policy
from tests.azure.arm_prepared import prepare
from tests.azure.cloud import Cloud, signed_out
from tests.tools.fakes_deploy import Home
from tools.azure.choice import AzureChoice
from tools.toolbox import build_toolbox

HERE = ["127.0.0.1"]


@contextmanager
def signed_in(folder: Path) -> Iterator[Cloud]:
    """The stand-in for the tests of a whole file, signed in; a request body that breaks a schema fails them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in signed_out():
            patch.delenv(name)
        with Cloud(folder) as running:
            for name, value in running.identity.items():
                patch.setenv(name, value)
            yield running
        assert running.violations == []


class CloudHome(Home):
    """A home whose Azure is the stand-in, with one region prepared."""

    def __init__(self, folder: Path, cloud: Cloud) -> None:
        self.cloud = cloud
        super().__init__(folder)

    def open(self) -> None:
        """As a server that begins."""
        self.book = Book.open(self.places.home / "book.sqlite")
        choice: AzureChoice = self.cloud.choice()
        self.toolbox = build_toolbox(self.places, self.book, Policy.load, azure=choice)
        self.gateway = Gateway.open(home=self.places.home, tools=self.toolbox.tools, book=self.book, people=People(self.book),
                                    defaults=self.toolbox.defaults)
        if not self.toolbox.cloud.prepared.all():
            self.toolbox.cloud.prepared.put(prepare(self.cloud.world, choice, self.book.home_id()))

    def deploy(self, **args: Any) -> Mapping[str, Any]:
        """A deployment of the bundled model on a processor."""
        return self.call("deploy_inference", **{"model": "bundled", "provider": "azure", "allow_ips": HERE, "max_hours": 5, **args})

    def settle(self) -> None:
        """What the workshop's loop does: the ledger learns what has ended."""
        for each in self.toolbox.settlements():
            asyncio.run(self.gateway.settle_spend(each.call_id, each.micros, each.basis))

    def money(self, ident: str) -> ledger.Used:
        """Of the call that pays for the deployment now."""
        row = self.toolbox.deploying.store.wanted(ident)
        return self.book.read(lambda db: ledger.used(db, call_id=row.revision_call))
