# SPDX-License-Identifier: Apache-2.0
"""What keeps the tests from failing because a machine is slow."""

import pytest
from hypothesis import HealthCheck, settings

# Two busy cores stop a process for longer than Hypothesis' 200 ms an example; pytest-timeout finds what hangs.
settings.register_profile("openmwaa", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("openmwaa")

INSTALLS_WITHIN_S = 1800
"""The first emulated test of a fresh machine installs the emulator and Airflow: a minute with uv, many with pip."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("emulated") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(INSTALLS_WITHIN_S))
