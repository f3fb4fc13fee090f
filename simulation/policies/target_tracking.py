# SPDX-License-Identifier: Apache-2.0
"""Target tracking of Application Auto Scaling on an ECS service of Airflow workers."""

import math
from collections import deque

from simulation.engine.policy import EngineFleetView, ScalingRule


class TargetTracking(ScalingRule):
    """Alarms on tasks per slot, a metric of one minute: out after 3 samples above 100 %, in after 15 below 90 %."""

    name = "target-tracking"
    source = (
        'Amazon ECS Developer Guide, "Target tracking scaling policies"; Application Auto Scaling API (cooldowns of'
        " 300 s); the metric and the target of hankehly/deploy-airflow-on-ecs-fargate."
    )
    interval_s = 60.0
    target = 1.0
    out_samples = 3
    in_samples = 15
    in_margin = 0.9
    """The lower alarm of a policy is 10 % below its target."""
    in_cooldown_s = 300.0

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=self.in_samples)
        self._changed_at = -math.inf

    def tick(self, view: EngineFleetView) -> None:
        """Publish the metric and set what the alarms ask for."""
        view.set_desired(self.track(view))

    def track(self, view: EngineFleetView) -> int:
        """Return the desired count after this sample; both adjustments start from the running count."""
        samples, serving = self._samples, view.serving
        samples.append(view.demand / (view.settings.slots * serving) if serving else 1.0 + (view.demand > 0))
        proportional = math.ceil(round(serving * samples[-1] / self.target, 6))
        last = list(samples)[-self.out_samples :]
        if len(last) == self.out_samples and min(last) > self.target:
            wanted = max(view.desired, proportional, 1)
        elif len(samples) == self.in_samples and max(samples) < self.target * self.in_margin:
            cooled = view.now - self._changed_at >= self.in_cooldown_s
            wanted = min(view.desired, proportional) if cooled else view.desired
        else:
            return view.desired
        if wanted != view.desired:
            self._changed_at = view.now
        return wanted
