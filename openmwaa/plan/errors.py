# SPDX-License-Identifier: Apache-2.0
"""Errors of the plan review.

PlanError
├── TerraformMissingError   terraform is not installed
├── TerraformFailedError    terraform failed; the message has its output
└── PlanUnreadableError     the plan's JSON has an unknown format
"""

from __future__ import annotations

from openmwaa.errors import OpenmwaaError


class PlanError(OpenmwaaError):
    """There is no plan to review; the message has the cause and the fix."""


class TerraformMissingError(PlanError):
    """terraform is not on PATH."""


class TerraformFailedError(PlanError):
    """terraform returned an error."""


class PlanUnreadableError(PlanError):
    """The plan's JSON cannot be parsed."""
