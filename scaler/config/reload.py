# SPDX-License-Identifier: Apache-2.0
"""The settings' file, read again when it changes.

The old settings stay in force if the file is invalid, incomplete or missing, or if it changes a setting that needs a
restart. The problem is reported until the file is correct; no fleet is affected.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from scaler.config.settings import ScalerConfig, parse_settings
from scaler.errors import ConfigurationError

PERIOD_S = 2.0
DEADLINE_S = 10.0
"""The file may be on a network file system."""


class ConfigFile:
    """Watches one file and applies its settings.

    `on_change` gets the problems of each new content; without any the content is in force.
    """

    def __init__(
        self,
        path: str,
        settings: ScalerConfig,
        apply: Callable[[ScalerConfig], None],
        on_change: Callable[[tuple[str, ...]], None],
        *,
        read: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        self._path = path
        self._settings = settings
        self._apply = apply
        self._on_change = on_change
        self._read = read or (lambda: asyncio.to_thread(Path(path).read_bytes))
        self._last_content: bytes | str | None = None
        self._problems: tuple[str, ...] = ()

    @property
    def problem(self) -> str | None:
        """Return why the file is not in force; None if it is."""
        return "; ".join(self._problems) or None

    @property
    def settings(self) -> ScalerConfig:
        """The settings in force."""
        return self._settings

    async def watch(self) -> None:
        """Check the file every two seconds until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(PERIOD_S)

    async def check(self) -> None:
        """Check the file once, and apply a change."""
        found: bytes | str
        try:
            async with asyncio.timeout(DEADLINE_S):
                found = await self._read()
        except TimeoutError:
            found = f"{self._path} cannot be read: no answer within {DEADLINE_S:g} s"
        except OSError as error:
            found = f"{self._path} cannot be read: {error}"
        if found == self._last_content:
            return
        self._last_content = found
        try:
            self._apply_content(found)
            self._problems = ()
        except ConfigurationError as error:
            self._problems = error.problems
        self._on_change(self._problems)

    def _apply_content(self, found: bytes | str) -> None:
        if isinstance(found, str):
            raise ConfigurationError([found])
        settings = parse_settings(found, self._path)
        if settings == self._settings:
            return
        fixed = self._settings.changes_at_start_only(settings)
        if fixed:
            raise ConfigurationError([f"{self._path}: {name} can change only with a restart" for name in fixed])
        try:
            self._apply(settings)
        except Exception as error:
            raise ConfigurationError([f"{self._path} could not be applied: {type(error).__name__}: {error}"]) from error
        self._settings = settings
