# SPDX-License-Identifier: Apache-2.0
"""Errors of `openmwaa plan`; the text of each names the remedy."""

from __future__ import annotations

from openmwaa.errors import OpenmwaaError


class PlanError(OpenmwaaError):
    """There is no plan to review; the text gives the reason and the remedy."""


class TerraformMissingError(PlanError):
    """There is no terraform on PATH."""


class PlanUnreadableError(PlanError):
    """The plan's JSON is of an unknown version."""
