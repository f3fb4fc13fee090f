# SPDX-License-Identifier: Apache-2.0
"""Amazon MWAA's worker scaling since 2025."""

from simulation.engine.fleet import StopProtection
from simulation.engine.policy import EngineFleetView
from simulation.policies.mwaa_2022 import Mwaa2022


class Mwaa2025(Mwaa2022):
    """Up and down to the need of the same metric; a worker that runs a task is protected, and may take more."""

    name = "mwaa-2025"
    source = 'Amazon MWAA User Guide since 2025, "Amazon MWAA automatic scaling": busy workers "remain protected".'
    protection = StopProtection.BUSY

    def act(self, view: EngineFleetView, needed: int) -> None:
        """Follow the need."""
        view.set_desired(needed)
