# SPDX-License-Identifier: Apache-2.0
"""What keeps the tests from failing because a machine is slow, or wants colours in its log."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Two busy cores stop a process for longer than Hypothesis' 200 ms an example; pytest-timeout finds what hangs.
settings.register_profile("openmwaa", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("openmwaa")
# In somebody else's checkout there is no room for examples, and the warning of that would fail every property.
if not os.access(next(folder for folder in (Path(".hypothesis"), Path()) if folder.exists()), os.W_OK):
    settings.register_profile("openmwaa, read-only", settings.get_profile("openmwaa"), database=None)
    settings.load_profile("openmwaa, read-only")

# Many CI systems ask for colours; what commands print is compared as text.
for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "GITHUB_ACTIONS"):
    os.environ.pop(name, None)

INSTALLS_WITHIN_S = 1800
"""The first emulated test of a fresh machine installs the emulator and Airflow: a minute with uv, many with pip."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("emulated") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(INSTALLS_WITHIN_S))
