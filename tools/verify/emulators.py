# SPDX-License-Identifier: Apache-2.0
"""AWS on this machine for one example: ministack, moto, and the local ECS with fake tasks."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from local_ecs.api import LocalEcs, LocalEcsSettings
from tests.support.emulator import find_emulator, running_emulator, running_moto
from tests.support.fake_task_runner import FakeTaskRunner
from tools.verify.errors import ToolError

MOTO_SERVICES: Final = ("cloudwatch",)
"""Services that ministack emulates badly: its DescribeAlarms omits half of an alarm, so every plan has a change."""


@dataclass(frozen=True)
class Emulators:
    """The URL of each."""

    ministack: str
    moto: str
    ecs: str


@contextlib.contextmanager
def running(region: str) -> Iterator[Emulators]:
    """Run all three without any resources.

    Raises:
        ToolError: one of them does not start.
    """
    with contextlib.ExitStack() as stack:
        try:
            ministack = stack.enter_context(running_emulator(find_emulator(), services=""))
            moto = stack.enter_context(running_moto())
            ecs = stack.enter_context(_running_ecs(region))
        except (OSError, RuntimeError) as error:
            raise ToolError(f"The emulators do not start: {error}") from error
        yield Emulators(ministack, moto, ecs)


@contextlib.contextmanager
def _running_ecs(region: str) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="local ECS", daemon=True)
    thread.start()
    ecs = LocalEcs(
        LocalEcsSettings(port=0, region=region, provisioning_s=0.05, pending_s=0.05),
        runner=FakeTaskRunner(healthy=True),
    )
    try:
        asyncio.run_coroutine_threadsafe(ecs.start(), loop).result(timeout=60)
        yield ecs.endpoint
    finally:
        asyncio.run_coroutine_threadsafe(ecs.stop(), loop).result(timeout=60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()
