# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between an environment's file and its plan, each with what to do about it.

PlanError
├── TerraformMissingError   there is no terraform to run
├── TerraformFailedError    terraform ended with an error, which is shown
└── PlanUnreadableError     the plan's JSON is of a version that is not known
"""

from __future__ import annotations

from openmwaa.errors import OpenmwaaError


class PlanError(OpenmwaaError):
    """There is no plan to judge; the text says why and what to do."""


class TerraformMissingError(PlanError):
    """There is no terraform on PATH."""


class TerraformFailedError(PlanError):
    """Terraform ended with an error."""


class PlanUnreadableError(PlanError):
    """The plan's JSON is not understood."""
