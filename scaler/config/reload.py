# SPDX-License-Identifier: Apache-2.0
"""The settings' file, read again when it changes.

A file that is broken, half-written, gone, or that changes what only a new start can change, leaves the old settings
in force: it is reported until it is put right, and no fleet notices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from scaler.config.settings import Settings, parse_settings
from scaler.errors import ConfigurationError

PERIOD_S = 2.0
DEADLINE_S = 10.0
"""A file may lie on a network's file system."""


class Listener(Protocol):
    """Somebody who wants to know whether the file is in force."""

    def config_applied(self) -> None:
        """Take note that the file, as it is now, is in force."""
        ...

    def config_rejected(self, problems: tuple[str, ...]) -> None:
        """Take note that the file changed and was not taken; told once a change."""
        ...


class ConfigFile:
    """Watches one file and applies what it says."""

    def __init__(
        self,
        path: str,
        settings: Settings,
        apply: Callable[[Settings], None],
        listeners: tuple[Listener, ...],
        *,
        read: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        self._path = path
        self._settings = settings
        self._apply = apply
        self._listeners = listeners
        self._read = read or (lambda: asyncio.to_thread(Path(path).read_bytes))
        self._seen: bytes | str | None = None
        self._problems: tuple[str, ...] = ()

    @property
    def problem(self) -> str | None:
        """Return why the file is not in force; None: it is."""
        return "; ".join(self._problems) or None

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    async def watch(self) -> None:
        """Look every two seconds until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PERIOD_S)

    async def look(self) -> None:
        """Look once, and take what changed."""
        found: bytes | str
        try:
            async with asyncio.timeout(DEADLINE_S):
                found = await self._read()
        except TimeoutError:
            found = f"{self._path} cannot be read: no answer within {DEADLINE_S:g} s"
        except OSError as error:
            found = f"{self._path} cannot be read: {error}"
        if found == self._seen:
            return
        self._seen = found
        try:
            self._take(found)
        except ConfigurationError as error:
            self._problems = error.problems
            for listener in self._listeners:
                listener.config_rejected(error.problems)
        else:
            self._problems = ()
            for listener in self._listeners:
                listener.config_applied()

    def _take(self, found: bytes | str) -> None:
        if isinstance(found, str):
            raise ConfigurationError([found])
        settings = parse_settings(found, self._path)
        if settings == self._settings:
            return
        fixed = self._settings.changes_at_start_only(settings)
        if fixed:
            raise ConfigurationError([f"{self._path}: {name} changes with a new start only" for name in fixed])
        try:
            self._apply(settings)
        except Exception as error:
            raise ConfigurationError([f"{self._path} could not be applied: {type(error).__name__}: {error}"]) from error
        self._settings = settings
