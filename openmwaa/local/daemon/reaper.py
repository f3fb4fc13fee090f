# SPDX-License-Identifier: Apache-2.0
"""Adopts orphans: a descendant without a parent becomes this process's child, and is reaped at its end."""

import asyncio
import contextlib
import ctypes
import os

import psutil

_PR_SET_CHILD_SUBREAPER = 36
INTERVAL_S = 1.0


def become_subreaper() -> bool:
    """Make the kernel give orphaned descendants to this process; False if it cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


async def reap_adopted() -> None:
    """Reap adopted zombies until cancelled.

    asyncio reaps its own children at once, so a zombie in two scans is an adopted one.
    """
    previous: set[int] = set()
    while True:
        await asyncio.sleep(INTERVAL_S)
        zombies = set(_zombies())
        for pid in zombies & previous:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - a zombie does not block
        previous = zombies


def _zombies() -> list[int]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if child.status() == psutil.STATUS_ZOMBIE:
                found.append(child.pid)
    return found
