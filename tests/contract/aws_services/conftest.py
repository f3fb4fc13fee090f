# SPDX-License-Identifier: Apache-2.0
"""Contract tests of AWS's services except ECS's protection, on three external emulators.

LocalStack may be the one at `ENDPOINT`. Their differences are in docs/reference/emulators.md.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import boto3
import pytest
from aiobotocore.session import AioSession, get_session
from botocore.config import Config

from scaler.adapters.aws import CONFIG
from tests.support.emulator import find_emulator, running_emulator, running_moto
from tests.support.localstack import LOCALSTACK

REGION = "us-east-1"
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
EMULATORS = ("ministack", "moto", LOCALSTACK)
SERVICES = "cloudwatch,ecs,iam,kms,logs,s3,secretsmanager,sqs,ssm,sts"


@dataclass(frozen=True)
class Emulator:
    """An emulator under test."""

    name: str
    url: str

    def client(self, service: str, **config: Any) -> Any:
        """A client for the checks of a test."""
        return boto3.client(
            service,  # type: ignore[call-overload]  # services are data here
            endpoint_url=self.url,
            region_name=REGION,
            config=Config(proxies={}, s3={"addressing_style": "path"}, **config),
            **CREDENTIALS,
        )


@pytest.fixture(scope="session")
def ministack() -> Iterator[str]:
    with running_emulator(find_emulator(), services=SERVICES) as url:
        yield url


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with running_moto() as url:
        yield url


@pytest.fixture(scope="session", params=EMULATORS)
def emulator(request: pytest.FixtureRequest) -> Emulator:
    return Emulator(request.param, request.getfixturevalue(request.param))


@pytest.fixture
def name() -> str:
    """A unique name for one test, because the tests share the emulators."""
    return f"contract-{uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def session() -> AioSession:
    """One session for all tests: it caches the service models."""
    return get_session()


Open = Callable[[str], Any]


@pytest.fixture
async def scalers_client(emulator: Emulator, session: AioSession) -> AsyncIterator[Open]:
    """Open a client as the scaler does, with its time-outs and retries."""
    async with AsyncExitStack() as stack:

        async def client(service: str) -> Any:
            made = session.create_client(
                service, endpoint_url=emulator.url, region_name=REGION, config=CONFIG, **CREDENTIALS
            )
            return await stack.enter_async_context(made)

        yield client
