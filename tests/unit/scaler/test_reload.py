# SPDX-License-Identifier: Apache-2.0
"""The settings' file: what changes is taken, what is wrong is reported, and the old settings stay in force."""

import json
from typing import Any

import pytest

from scaler.config.reload import PERIOD_S, ConfigFile
from scaler.config.settings import ScalerConfig, parse_settings
from simulation.loop import run
from tests.unit.scaler.test_config import FLEET, GOOD, OTHER

PATH = "/etc/openmwaa/scaler.json"


class Watched:
    """A file in memory, and what the scaler made of it."""

    def __init__(self) -> None:
        self.content: bytes | Exception = self.written(GOOD)
        self.applied: list[ScalerConfig] = []
        self.calls: list[str] = []
        self.broken = False
        self.file = ConfigFile(PATH, parse_settings(json.dumps(GOOD)), self.apply, self.changed, read=self.read)

    @staticmethod
    def written(document: dict[str, Any]) -> bytes:
        return json.dumps(document).encode()

    async def read(self) -> bytes:
        if isinstance(self.content, Exception):
            raise self.content
        return self.content

    def apply(self, settings: ScalerConfig) -> None:
        if self.broken:
            raise ZeroDivisionError("a defect")
        self.applied.append(settings)

    def changed(self, problems: tuple[str, ...]) -> None:
        self.calls.append(problems[0] if problems else "applied")

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            run(self.file.check())


def test_an_unchanged_file_changes_nothing() -> None:
    world = Watched()
    world.look(3)
    assert (world.applied, world.calls, world.file.problem) == ([], ["applied"], None)


def test_a_changed_file_is_applied_once() -> None:
    world = Watched()
    world.look()
    world.content = world.written(GOOD | {"fleets": [FLEET | {"max": 9}, OTHER], "interval_s": 7})
    world.look(3)
    (settings,) = world.applied
    assert (settings.interval_s, [fleet.max for fleet in settings.fleets]) == (7.0, [9, 5])
    assert world.file.settings is settings
    assert world.calls == ["applied", "applied"]


BROKEN = [
    pytest.param(b'{"version": 2, "fleets": [', "Invalid JSON", id="half-written"),
    pytest.param(b"", "Invalid JSON", id="empty"),
    pytest.param(b"\xff\xfe", "Invalid JSON", id="no text"),
    pytest.param(json.dumps(GOOD | {"fleets": []}).encode(), f"{PATH}.fleets", id="no fleet"),
    pytest.param(json.dumps(GOOD | {"region": "eu-west-1"}).encode(), "region can change only", id="region"),
    pytest.param(FileNotFoundError("gone"), "cannot be read: gone", id="gone"),
    pytest.param(TimeoutError(), "no answer within", id="a file system that hangs"),
]


@pytest.mark.parametrize(("content", "words"), BROKEN)
def test_an_invalid_file_is_reported_once_and_the_old_settings_stay(content: bytes | Exception, words: str) -> None:
    world = Watched()
    world.look()
    before = world.file.settings
    world.content = content
    world.look(5)
    assert world.applied == []
    assert world.file.settings is before
    assert words in (world.file.problem or "")
    assert len(world.calls) == 2, f"called once, not every {PERIOD_S:g} s: {world.calls}"
    world.content = world.written(GOOD | {"interval_s": 7})
    world.look()
    assert world.file.problem is None
    assert [settings.interval_s for settings in world.applied] == [7.0]


def test_settings_that_cannot_be_applied_are_reported_and_tried_again_after_a_change() -> None:
    world = Watched()
    world.broken = True
    world.content = world.written(GOOD | {"interval_s": 7})
    world.look()
    assert "could not be applied: ZeroDivisionError" in (world.file.problem or "")
    world.broken = False
    world.content = world.written(GOOD | {"interval_s": 8})
    world.look()
    assert [settings.interval_s for settings in world.applied] == [8.0]
