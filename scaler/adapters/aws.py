# SPDX-License-Identifier: Apache-2.0
"""AWS clients that give up quickly, and the translation of their errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from scaler.adapters.deadline import calling
from scaler.errors import BadAnswerError, SourceError, ThrottledError

# botocore's own defaults (60 s to connect, 60 s to read, 5 attempts) would be minutes of silence.
CONFIG = AioConfig(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2, "mode": "standard"})
THROTTLES = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestThrottled"})


@asynccontextmanager
async def clients(region: str, *names: str) -> AsyncIterator[list[Any]]:
    """Open the named AWS clients; endpoints and credentials come from the standard variables."""
    session = get_session()
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(session.create_client(name, region_name=region, config=CONFIG))
            for name in names
        ]


@asynccontextmanager
async def aws_call(source: str, seconds: float) -> AsyncIterator[None]:
    """Give the body `seconds`, and translate what botocore raises."""
    async with calling(source, seconds, BotoCoreError, aiohttp.ClientError, OSError):
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            message = error.response.get("Error", {}).get("Message", "")
            kind = ThrottledError if code in THROTTLES else SourceError
            raise kind(source, f"{code}: {message}") from error
        except (KeyError, TypeError) as error:
            raise BadAnswerError(source, f"unexpected answer: {type(error).__name__} {error}") from error


def no_failures(source: str, answer: Mapping[str, Any]) -> None:
    """Raise where a 200 carries `failures`: half an answer is none."""
    failures = answer.get("failures") or []
    if failures:
        first = failures[0]
        words = " ".join(str(first.get(key)) for key in ("arn", "reason", "detail") if first.get(key))
        raise SourceError(source, f"{len(failures)} failures in the answer, the first: {words}")
