# SPDX-License-Identifier: Apache-2.0
"""AWS clients with short timeouts, and the translation of their errors."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from scaler.adapters.deadline import calling
from scaler.errors import BadAnswerError, RejectedError, SourceError, ThrottledError

# botocore's defaults (60 s to connect, 60 s to read, 5 attempts) add up to minutes without an answer.
CONFIG = AioConfig(
    connect_timeout=1,
    read_timeout=2,
    retries={"total_max_attempts": 2, "mode": "standard"},
    max_pool_connections=50,  # twenty fleets that tick at the same time read their queues at the same time
)
THROTTLES = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "LimitExceeded",
    }
)
REJECTIONS = frozenset({"InvalidParameterException", "ClientException", "ValidationException"})
"""The request is invalid; ECS refuses the whole call for one bad name in it."""


class ApiCalls:
    """Counts the requests on the wire, botocore's retries included, as AWS's quotas do."""

    def __init__(self) -> None:
        self.sent: Counter[tuple[str, str]] = Counter()
        """Requests by service and operation."""
        self.throttled: Counter[tuple[str, str]] = Counter()
        """Throttled requests by service and operation."""

    def attach(self, client: Any) -> None:
        """Count this client's calls from now on."""
        client.meta.events.register("before-send", self._send)
        client.meta.events.register("response-received", self._received)

    def _send(self, event_name: str, **_: Any) -> None:
        self.sent[_operation(event_name)] += 1

    def _received(self, event_name: str, parsed_response: Mapping[str, Any] | None = None, **_: Any) -> None:
        if parsed_response and parsed_response.get("Error", {}).get("Code") in THROTTLES:
            self.throttled[_operation(event_name)] += 1


def _operation(event_name: str) -> tuple[str, str]:
    _, service, operation = event_name.split(".", 2)
    return service, operation


@asynccontextmanager
async def open_client(
    region: str, name: str, calls: ApiCalls | None = None, *, read_timeout_s: float = 2
) -> AsyncIterator[Any]:
    """Open an AWS client; endpoint and credentials come from the standard variables."""
    config = CONFIG.merge(AioConfig(read_timeout=read_timeout_s))
    async with get_session().create_client(name, region_name=region, config=config) as client:
        if calls is not None:
            calls.attach(client)
        yield client


@asynccontextmanager
async def aws_call(source: str, seconds: float) -> AsyncIterator[None]:
    """Limit the body to `seconds`, and translate botocore's errors."""
    async with calling(source, seconds, BotoCoreError, aiohttp.ClientError, OSError):
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            message = error.response.get("Error", {}).get("Message", "")
            kind = ThrottledError if code in THROTTLES else RejectedError if code in REJECTIONS else SourceError
            raise kind(source, f"{code}: {message}") from error
        except (KeyError, TypeError) as error:
            raise BadAnswerError(source, f"unexpected answer: {type(error).__name__} {error}") from error
