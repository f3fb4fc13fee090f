# SPDX-License-Identifier: Apache-2.0
"""SSM: `openmwaa scale` writes overrides, the scaler reads them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from openmwaa.config.environment import Environment
from openmwaa.operate.connection import Connection
from openmwaa.operate.override_store import OverrideStore
from scaler.adapters.override_store import SsmOverrides
from scaler.config.overrides import OverrideDocument
from scaler.core.model import Overrides
from scaler.errors import BadAnswerError
from tests.contract.aws_services.conftest import Emulator, Open
from tests.support.environments import LEAST

pytestmark = [pytest.mark.emulated]


@pytest.fixture
def store(emulator: Emulator, name: str) -> OverrideStore:
    environment = Environment.model_validate({**LEAST, "name": name})
    return OverrideStore(Connection(environment, Path("environment.yaml"), {"aws": emulator.url}))


def at_most(number: int) -> OverrideDocument:
    return OverrideDocument(max=number, by="a user", at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", reason="a test")


async def test_the_scaler_reads_an_override_and_no_override_for_other_fleets(
    store: OverrideStore, scalers_client: Open, name: str
) -> None:
    before = store.read(["default"])["default"]
    assert (before.version, before.document) == (0, None)
    override = at_most(3)
    store.change(before, lambda _: override)
    fleets = ["default", *(f"other-{number}" for number in range(15))]
    read = await SsmOverrides(await scalers_client("ssm"), f"/openmwaa/{name}/scaler/").read(fleets)
    found = {fleet: overrides for fleet, overrides in read.items() if overrides != Overrides()}
    assert set(read) == set(fleets), "two calls, with a result for each fleet"
    assert found == {"default": override.to_core()}


async def test_every_write_has_a_number_and_is_kept(store: OverrideStore) -> None:
    override = store.read(["default"])["default"]
    for number in (1, 2, 3):
        override, others = store.change(override, lambda _, number=number: at_most(number))  # type: ignore[misc]
        assert (override.version, others) == (number, [])
    assert [version.document.max for version in store.history("default") if version.document] == [3, 2, 1]


async def test_a_first_write_does_not_hide_another_first_write(store: OverrideStore) -> None:
    nothing = store.read(["default"])["default"]
    store.change(nothing, lambda _: at_most(1))
    _, others = store.change(nothing, lambda _: at_most(2))
    assert [order.document.max for order in others if order.document] == [1], "the other override is not returned"


async def test_a_secret_parameter_is_not_a_valid_override(emulator: Emulator, scalers_client: Open, name: str) -> None:
    emulator.client("ssm").put_parameter(Name=f"/openmwaa/{name}/scaler/default", Value="{}", Type="SecureString")
    read = await SsmOverrides(await scalers_client("ssm"), f"/openmwaa/{name}/scaler/").read(["default"])
    assert isinstance(read["default"], BadAnswerError)
