# SPDX-License-Identifier: Apache-2.0
"""What can go wrong while images are built."""

from __future__ import annotations


class ImageError(Exception):
    """An image is not right, or cannot be built; the text says why."""
