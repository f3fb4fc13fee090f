# SPDX-License-Identifier: Apache-2.0
"""Clients of the emulated APIs, with timeouts and without the user's account, proxies and certificates."""

from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import BotoCoreError, ClientError

ACCOUNT = "123456789012"
REGION = "us-east-1"
ERRORS = (BotoCoreError, ClientError, aiohttp.ClientError, OSError)
"""What a call raises: a refusal, or no answer (a timeout is an OSError)."""


@cache
def _session() -> AioSession:
    """One session for all clients, because each session parses the service models again (tens of milliseconds)."""
    return get_session()


def client(
    service: str, endpoint_url: str, *, region: str = REGION, read_timeout_s: float = 5.0
) -> AbstractAsyncContextManager[Any]:
    """An aiobotocore client of one service at one endpoint; one attempt per call, at most about 7 s."""
    context: AbstractAsyncContextManager[Any] = _session().create_client(
        service,
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - emulators accept any key
        config=AioConfig(
            connect_timeout=2,
            read_timeout=read_timeout_s,
            retries={"total_max_attempts": 1, "mode": "standard"},
            proxies={},
            max_pool_connections=10,
        ),
    )
    return context
