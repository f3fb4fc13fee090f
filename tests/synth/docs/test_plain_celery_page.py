# SPDX-License-Identifier: Apache-2.0
"""The page about plain Celery: its settings are read as the scaler reads them, its programs run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from celery.app.defaults import NAMESPACES, flatten

from scaler.config.environment import read_settings
from scaler.config.settings import CloudWatchSettings, RedisSettings, SqsSettings, parse_settings
from tests.support.emulator import child_environment

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "plain-celery.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


CONFIGS, PROGRAMS = blocks("json"), blocks("python")


def test_the_page_shows_every_broker() -> None:
    kinds = [type(read_settings({"SCALER_CONFIG": text, "SCALER_SIGNING_SEED": "seed"})[0].broker) for text in CONFIGS]
    assert kinds == [SqsSettings, RedisSettings, CloudWatchSettings, SqsSettings]


@pytest.mark.parametrize("text", CONFIGS, ids=["SQS", "Redis", "CloudWatch", "metric"])
def test_every_setting_of_the_page_is_read_as_written(text: str) -> None:
    """The scaler reads the settings of the page: none is dropped, none gets another type."""
    written = json.loads(text)
    read = json.loads(parse_settings(text).model_dump_json())
    assert _within(written, read) == []


def _within(written: object, read: object, place: str = "") -> list[str]:
    if isinstance(written, dict) and isinstance(read, dict):
        return [found for key, value in written.items() for found in _within(value, read.get(key), f"{place}.{key}")]
    if isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        pairs = enumerate(zip(written, read, strict=True))
        return [found for index, (left, right) in pairs for found in _within(left, right, f"{place}[{index}]")]
    return [] if written == read else [f"{place}: the page has {written!r}, the scaler reads {read!r}"]


def test_every_celery_setting_of_the_page_exists() -> None:
    known = {pair[0] for pair in flatten(NAMESPACES)}
    used = {name for text in PROGRAMS for name in re.findall(r"^    (\w+)=", text, re.MULTILINE)}
    assert used
    assert used <= known, f"Celery has no {used - known}"


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_programs_of_the_page_run(number: int, tmp_path: Path) -> None:
    program = tmp_path / "jobs.py"
    program.write_text(PROGRAMS[number])
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        env=child_environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
