# SPDX-License-Identifier: Apache-2.0
"""Reads from the scaler which queued tasks have no message in the broker: no worker can run them."""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp

DEADLINE_S = 3.0


def tasks_without_message(scaler_address: str | None) -> Mapping[str, int] | None:
    """Return the number of such tasks by fleet, of fleets that have any; None: unknown.

    The health of the scaler is that of its service, so it is no part of this answer.
    """
    if scaler_address is None:
        return None
    try:
        answer = asyncio.run(_get(f"{scaler_address}/v1/fleets"))
    except (aiohttp.ClientError, OSError, ValueError):  # TimeoutError is an OSError
        return None
    found = {fleet["fleet"]: (fleet.get("demand") or {}).get("without_message") for fleet in answer["fleets"]}
    lost = {fleet: tasks for fleet, tasks in found.items() if tasks}
    return lost or (None if None in found.values() else lost)


async def _get(url: str) -> Mapping[str, Any]:
    timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
        answer.raise_for_status()
        found: Mapping[str, Any] = await answer.json()
        return found
