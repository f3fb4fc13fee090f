# SPDX-License-Identifier: Apache-2.0
"""What `deploy` and `destroy` read of a stack is there in every example."""

from pathlib import Path

import pytest

from openmwaa.config.environment_file import load
from openmwaa.cost.stack import Resource
from openmwaa.deploy import quotas
from openmwaa.deploy.destruction import _to_release
from openmwaa.deploy.pushed_images import own_repositories
from openmwaa.plan.changes import TerraformPlan
from tests.support.synthesis import stack_document
from tools.verify.example import example_files


@pytest.mark.parametrize("file", example_files(), ids=lambda file: file.parent.name)
def test_needs_images_and_protection_of_an_example(file: Path) -> None:
    environment = load(file)
    document = stack_document(environment)
    resources = document["resource"]
    needed = {quota.name: quota.added for quota in quotas.added(environment, document, [])}
    assert needed[quotas.ON_DEMAND.name] > 1, "a control plane and a scaler run in each"
    assert (quotas.VPCS.name in needed) == (environment.network.vpc_id is None)
    own = {kind for kind in ("airflow", "scaler") if getattr(environment.images, kind) is None}
    assert own_repositories(document).keys() == own
    state = [Resource(kind, name, values) for kind, named in resources.items() for name, values in named.items()]
    applied = TerraformPlan(changes=(), outputs_changed=(), before=tuple(state))
    assert list(_to_release(document, applied)) == [], "nothing is to be changed before a destroy"
    everything = {quota.name: quota.added for quota in quotas.added(environment, document, state)}
    assert not any(everything.values()), "what is applied needs no more"
