"""What the client does when this machine's clock is set, and when the program ends."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.azure.cloud import Cloud
from tests.azure.faults import Fault
from tests.azure.test_client import put_group
from tests.azure.told import trouble_of
from tools.azure.client import Azure


def test_setting_this_machines_clock_does_not_set_azures(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    azure.account()
    before = azure.now()

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=1)

    monkeypatch.setattr("tools.azure.client.datetime", Later)
    assert abs((azure.now() - before).total_seconds()) < 60


def test_at_the_end_of_the_program_nothing_is_tried_again(azure: Azure, cloud: Cloud) -> None:
    azure.account()
    cloud.faults.at("PUT", "rg", Fault.REFUSED_503, 5)
    azure.leave()
    assert trouble_of(lambda: put_group(azure)).trouble == "transient"
    assert [method for method, _ in cloud.requests].count("PUT") == 1
