# SPDX-License-Identifier: Apache-2.0
"""Predictive scaling of Application Auto Scaling, on top of target tracking."""

import math

from simulation.engine.policy import EngineFleetView
from simulation.policies.target_tracking import TargetTracking

HOUR_S = 3600.0
DAY_H = 24


class PredictiveScaling(TargetTracking):
    """A floor for each hour from the load at the same hour of the past days; it raises only.

    AWS does not publish its model: the forecast here is the mean load of the same hour of the day.
    """

    name = "predictive-scaling"
    source = (
        'Application Auto Scaling User Guide, "How predictive scaling works": hourly forecast from up to 14 days, at'
        " least 24 h, every 6 h; PutScalingPolicy: SchedulingBufferTime 300 s."
    )
    days = 14
    refresh_h = 6
    ahead_h = 48
    buffer_s = 300.0

    def __init__(self) -> None:
        super().__init__()
        self._load: list[list[int]] = []
        """By hour: the demand at each minute."""
        self._forecast: dict[int, int] = {}
        self._forecast_at = 0

    def tick(self, view: EngineFleetView) -> None:
        """Set the larger of the forecast and target tracking."""
        hour = int(view.now // HOUR_S)
        while len(self._load) <= hour:
            self._load.append([])
        self._load[hour].append(view.demand)
        if hour >= max(DAY_H, self._forecast_at):
            self._forecast_at = hour + self.refresh_h
            self._forecast = {then: self._expect(then, hour, view.settings.slots) for then in self._hours(hour)}
        buffered = int((view.now + self.buffer_s) // HOUR_S)
        floor = max(self._forecast.get(hour, 0), self._forecast.get(buffered, 0))
        view.set_desired(max(self.track(view), floor))

    def _hours(self, hour: int) -> range:
        return range(hour, hour + self.ahead_h)

    def _expect(self, then: int, hour: int, slots: int) -> int:
        """Return the workers for the mean load of the same hour of past days."""
        past = range(then % DAY_H, hour, DAY_H)[-self.days :]
        means = [sum(self._load[at]) / len(self._load[at]) for at in past if self._load[at]]
        return math.ceil(sum(means) / len(means) / slots) if means else 0
