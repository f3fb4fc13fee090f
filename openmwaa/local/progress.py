# SPDX-License-Identifier: Apache-2.0
"""The type of the function that prints a progress message."""

from collections.abc import Callable

Progress = Callable[[str], None]
