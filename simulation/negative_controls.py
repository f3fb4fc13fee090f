# SPDX-License-Identifier: Apache-2.0
"""The negative controls: runs with one disabled safeguard. Each must lose tasks, else the simulation proves nothing.

The code checks each member at the one place where its step happens.
"""

from enum import StrEnum


class DisabledSafeguard(StrEnum):
    """The safeguard that a run leaves out."""

    NOTHING = "nothing"
    PROTECTION = "no protection"
    """Workers never call ECS for protection; drains and reductions stay."""
    PROTECT_FIRST = "consume before protect"
    RELEASE_FIRST = "reduce before release"
    """The desired count follows the demand; ECS chooses the tasks to stop."""
    RENEWAL = "never renew"
    POLL_COUNT = "release with a poll in flight"
    FAILURES = "ignore failures in a 200"
    """A refused protection counts as granted."""
    FLOOR_ABOVE_MAXIMUM = "max below protected"
    """A lower maximum is written even if more workers are protected."""
    PROTECT_AGAIN = "resume after release without protection"
    REREAD = "no second read of desired"
    PROTECTED_AGAIN = "no second read of protection"
    DEPLOYMENT = "no second look for a deployment"
    CONFIRMATION = "no confirmation of the release"
    SETTLING = "protect at once after a lost release"
    TWO_WITNESSES = "zero with one witness"
    EQUALITY = "more unprotected than released"
    """The count is lowered although a worker is unprotected that has not released its protection."""


_OF_RACES = ("REREAD", "PROTECTED_AGAIN", "DEPLOYMENT", "CONFIRMATION", "SETTLING", "TWO_WITNESSES", "EQUALITY")
NEGATIVE_CONTROLS = tuple(safeguard for safeguard in DisabledSafeguard if safeguard.name not in ("NOTHING", *_OF_RACES))
"""The safeguards without which random runs lose tasks; `race_run.RACES` has the others, each with its race."""
