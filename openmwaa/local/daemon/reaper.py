# SPDX-License-Identifier: Apache-2.0
"""Adopts orphans: what loses its parent becomes this process's child, and is reaped when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os

import psutil

_PR_SET_CHILD_SUBREAPER = 36
INTERVAL_S = 1.0


def become_subreaper() -> bool:
    """Let the kernel hand orphaned descendants to this process; False where it does not."""
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


async def reap_adopted() -> None:
    """Reap adopted zombies until cancelled.

    Children that asyncio started are reaped by asyncio, at once; a zombie seen in two looks is nobody's, thus adopted.
    """
    seen: set[int] = set()
    while True:
        await asyncio.sleep(INTERVAL_S)
        zombies = set(_zombies())
        for pid in zombies & seen:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - a zombie does not block
        seen = zombies


def _zombies() -> list[int]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if child.status() == psutil.STATUS_ZOMBIE:
                found.append(child.pid)
    return found
