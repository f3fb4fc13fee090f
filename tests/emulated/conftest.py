# SPDX-License-Identifier: Apache-2.0
"""The emulated AWS APIs, once for all tests."""

from collections.abc import Iterator

import pytest

from tests.support.emulator import find_emulator, running_emulator


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    """The emulator's URL."""
    with running_emulator(find_emulator()) as url:
        yield url
