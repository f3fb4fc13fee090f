# SPDX-License-Identifier: Apache-2.0
"""Makes a plan and judges it: the same review for `openmwaa plan`, `deploy` and `destroy`."""

from collections.abc import Sequence

from openmwaa.config.environment import Environment
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
