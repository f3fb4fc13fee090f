# SPDX-License-Identifier: Apache-2.0
"""The scaling rules by name."""

from collections.abc import Callable

from simulation.engine.policy import ScalingRule
from simulation.policies.always import Always
from simulation.policies.clairvoyant import Clairvoyant
from simulation.policies.dask_adaptive import DaskAdaptive
from simulation.policies.keda import ChartKeda
from simulation.policies.mwaa_2022 import Mwaa2022
from simulation.policies.mwaa_2025 import Mwaa2025
from simulation.policies.predictive_scaling import PredictiveScaling
from simulation.policies.reactive import Reactive
from simulation.policies.revealed import Revealed
from simulation.policies.target_tracking import TargetTracking
from simulation.policies.workflow_plan import WorkflowPlan
from simulation.policies.workflow_token import WorkflowToken

_RULES: tuple[type[ScalingRule], ...] = (
    Always,
    Mwaa2022,
    Mwaa2025,
    ChartKeda,
    TargetTracking,
    PredictiveScaling,
    DaskAdaptive,
    WorkflowPlan,
    WorkflowToken,
    Reactive,
    Revealed,
    Clairvoyant,
)

POLICIES: dict[str, Callable[[], ScalingRule]] = {rule.name: rule for rule in _RULES}
"""Name and factory; a policy has the state of one fleet, so each fleet needs its own."""
