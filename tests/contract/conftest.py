# SPDX-License-Identifier: Apache-2.0
"""Where the contract suite runs: on this machine, or with `AWS=real` (or `--aws=real`) in an AWS account."""

import os
from collections.abc import Iterator

import pytest

from tests.contract.aws import AwsPlace
from tests.contract.local import LocalPlace
from tests.contract.world import World


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--aws", choices=["local", "real"], default=None, help="where ECS is (default: $AWS, or local)")


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlace | AwsPlace]:
    """One ECS for the whole session; each test has services of its own."""
    # The option is known only when this folder was named on the command line.
    where = request.config.getoption("--aws", default=None) or os.environ.get("AWS") or "local"
    made = AwsPlace() if where == "real" else LocalPlace(tmp_path_factory.mktemp("ecs"))
    yield made
    made.close()


@pytest.fixture
def world(place: LocalPlace | AwsPlace, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The world of one test: what it leaves running is removed after it."""
    services: list[str] = []
    note = place.created

    def created(service: str) -> None:
        services.append(service)
        note(service)

    monkeypatch.setattr(place, "created", created)
    world = World(place)
    yield world
    place.forget([s for s in services if world.shown(s)["status"] == "ACTIVE"])
