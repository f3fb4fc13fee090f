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


NEGATIVE_CONTROLS = tuple(safeguard for safeguard in DisabledSafeguard if safeguard is not DisabledSafeguard.NOTHING)
