# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with an environment on this machine, each with what to do about it."""

from __future__ import annotations

from openmwaa.errors import OpenmwaaError


class LocalError(OpenmwaaError):
    """The environment on this machine cannot go on; the text says why and what to do."""
