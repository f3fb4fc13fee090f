# SPDX-License-Identifier: Apache-2.0
"""The negative controls: a step of the protocol taken away, which must lose tasks, else the simulation proves nothing.

Each member is asked about at the one place where its step is taken.
"""

from enum import StrEnum


class DisabledSafeguard(StrEnum):
    """Which step is taken away."""

    NOTHING = "nothing"
    PROTECTION = "no protection"
    """Workers never ask ECS; all else, drains and reductions included, stays."""
    PROTECT_FIRST = "consume before protect"
    RELEASE_FIRST = "reduce before release"
    """The desired count follows the demand; who works is left to ECS."""
    RENEWAL = "never renew"
    POLL_COUNT = "release with a poll in flight"
    FAILURES = "ignore failures in a 200"
    """A refused protection is taken for a granted one."""
    FLOOR_ABOVE_MAXIMUM = "max below protected"
    """A maximum that is lowered is written, also below what is protected."""
    PROTECT_AGAIN = "resume after release without protection"


NEGATIVE_CONTROLS = tuple(each for each in DisabledSafeguard if each is not DisabledSafeguard.NOTHING)
