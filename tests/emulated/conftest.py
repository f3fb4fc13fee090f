# SPDX-License-Identifier: Apache-2.0
"""The emulated AWS APIs, once for all tests."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.celery_fleet import CeleryFleet, StartWorld
from tests.support.emulator import find_emulator, running_emulator
from tests.support.local_fleet import LocalFleetSettings


@pytest.fixture(scope="session")
def ministack() -> Iterator[str]:
    with running_emulator(find_emulator()) as url:
        yield url


@pytest.fixture(scope="session")
def emulator(request: pytest.FixtureRequest) -> str:
    """The emulator's URL: ministack's, and also LocalStack's for tests marked with `on_localstack_too`."""
    url: str = request.getfixturevalue(getattr(request, "param", "ministack"))
    return url


@pytest.fixture
def start(emulator: str, tmp_path: Path) -> Iterator[StartWorld]:
    """Start a fleet of one worker and its scaler, with settings."""
    with ExitStack() as worlds:
        yield lambda **settings: worlds.enter_context(CeleryFleet(emulator, tmp_path, LocalFleetSettings(**settings)))
