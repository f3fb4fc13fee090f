# SPDX-License-Identifier: Apache-2.0
"""The platform of the contract tests: this machine, or with `AWS=real` (or `--aws=real`) an AWS account."""

import os
from collections.abc import Iterator

import pytest

from tests.contract.aws import AwsPlatform
from tests.contract.ecs_under_test import EcsUnderTest
from tests.contract.local import LocalPlatform


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--aws", choices=["local", "real"], default=None, help="where ECS is (default: $AWS, or local)")


@pytest.fixture(scope="session")
def platform(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalPlatform | AwsPlatform]:
    """One ECS for the whole session. Each test creates its own services."""
    # The option is known only when this folder was named on the command line.
    where = request.config.getoption("--aws", default=None) or os.environ.get("AWS") or "local"
    made = AwsPlatform() if where == "real" else LocalPlatform(tmp_path_factory.mktemp("ecs"))
    yield made
    made.close()


@pytest.fixture
def ecs(platform: LocalPlatform | AwsPlatform, monkeypatch: pytest.MonkeyPatch) -> Iterator[EcsUnderTest]:
    """The ECS for one test. Its remaining services are removed after the test."""
    services: list[str] = []
    note = platform.created

    def created(service: str) -> None:
        services.append(service)
        note(service)

    monkeypatch.setattr(platform, "created", created)
    ecs = EcsUnderTest(platform)
    yield ecs
    platform.forget([s for s in services if ecs.shown(s)["status"] == "ACTIVE"])
