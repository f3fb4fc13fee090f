# SPDX-License-Identifier: Apache-2.0
"""Amazon MWAA's worker scaling as documented until 2025."""

from simulation.engine.policy import EngineFleetView, ScalingRule


class Mwaa2022(ScalingRule):
    """Up to the need of a metric of CloudWatch; down to the minimum after two minutes without any task.

    A metric of one minute is complete at its end, so the rule acts on the sample of the minute before. A worker that
    ECS stops has 120 s; then its tasks are lost.
    """

    name = "mwaa-2022"
    source = 'Amazon MWAA User Guide of 2022, "Amazon MWAA automatic scaling": (running + queued) / tasks per worker.'
    interval_s = 60.0
    idle_samples = 2

    def __init__(self) -> None:
        self._sample: tuple[int, bool] | None = None
        self._idle = 0

    def tick(self, view: EngineFleetView) -> None:
        """Act on the sample of the minute before."""
        if self._sample is not None:
            needed, idle = self._sample
            self._idle = self._idle + 1 if idle else 0
            self.act(view, needed)
        self._sample = (view.needed, view.demand == 0)

    def act(self, view: EngineFleetView, needed: int) -> None:
        """Raise, or fall to the minimum."""
        if self._idle >= self.idle_samples:
            view.set_desired(view.settings.minimum)
        elif needed > view.desired:
            view.set_desired(needed)
