# SPDX-License-Identifier: Apache-2.0
"""Makes a plan and judges it: the same review for `openmwaa plan`, `deploy` and `destroy`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from openmwaa.config.environment import Environment
from openmwaa.cost.change import CostChange, cost_change
from openmwaa.errors import TerraformError
from openmwaa.plan import changes
from openmwaa.plan.terraform import PlanRunner
from openmwaa.plan.verdict import Verdict, judge, judge_failure


def review(terraform: PlanRunner, environment: Environment, arguments: Sequence[str] = ()) -> Verdict:
    """Return the verdict of a new plan; `arguments` are further ones of `terraform plan`. A refused plan is deleted.

    Raises:
        TerraformError: with Terraform's own message.
    """
    terraform.init()
    try:
        document = terraform.create(arguments)
    except TerraformError:
        # After a change of the Region the plan fails while it reads the resources, with an unclear error.
        verdict = judge_failure(changes.read_state(terraform.show()), environment)
        if verdict is None:
            raise
    else:
        verdict = judge(changes.read(document), environment, destroying="-destroy" in arguments)
    if verdict.outcome == "refused":
        terraform.delete()
    return verdict


def with_cost(verdict: Verdict, document: Mapping[str, Any], region: str) -> tuple[Verdict, CostChange | None]:
    """Return the verdict with a note of the cost, and the cost of the stack `document`; None if nothing changes."""
    if verdict.outcome != "changed":
        return verdict, None
    cost = cost_change(verdict.plan.before, document, region)
    return replace(verdict, notes=(*verdict.notes, str(cost))), cost
