# SPDX-License-Identifier: Apache-2.0
"""The fleet always has its maximum."""

from simulation.engine.policy import EngineFleetView, ScalingRule


class Always(ScalingRule):
    """The most workers at every time: the least wait and the highest cost."""

    name = "always"
    source = "The maximum, without a scaler."

    def tick(self, view: EngineFleetView) -> None:
        """Set the maximum."""
        view.set_desired(view.settings.maximum)
