# SPDX-License-Identifier: Apache-2.0
"""Recorded plans, read and judged."""

from openmwaa.plan.changes import TerraformPlan, read
from openmwaa.plan.verdict import Verdict, judge
from tests.support.recorded_plan import environment, recorded


def plan_of(name: str) -> TerraformPlan:
    return read(recorded(name))


def verdict_of(name: str) -> Verdict:
    return judge(plan_of(name), environment(name))
