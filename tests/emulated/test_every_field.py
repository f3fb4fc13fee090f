# SPDX-License-Identifier: Apache-2.0
"""No field that may change replaces a worker service, the database or the broker: planned with the real provider.

All fields of a base change in one plan: what would be replaced for one of them is replaced then too. Where something
is, halves of the group are planned until the field is found.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from openmwaa.plan.changes import read
from openmwaa.plan.verdict import PlanRefusal, judge
from tests.support.emulator import find_emulator, running_emulator
from tests.support.every_field import BASES, ROWS, Base, May, Stays, environment, groups
from tests.support.settled_terraform import SettledTerraform
from tests.support.synthesis import stack_document

# A state takes five plans, each 7 s on an idle machine.
pytestmark = [pytest.mark.emulated, pytest.mark.slow, pytest.mark.timeout(1800)]

PROTECTED = {
    "own": {"aws_rds_cluster.metadata_database", "aws_sqs_queue.broker_queue_etl", "aws_s3_bucket.storage"},
    "byo": {"aws_db_instance.metadata_database", "aws_elasticache_replication_group.broker"},
}


@pytest.fixture(scope="module")
def aws_url() -> Iterator[str]:
    with running_emulator(find_emulator(), services="") as url:
        yield url


@pytest.fixture(scope="module", params=list(BASES))
def settled(request: pytest.FixtureRequest, aws_url: str, tmp_path_factory: pytest.TempPathFactory) -> "Settled":
    return Settled(request.param, aws_url, tmp_path_factory.mktemp(request.param))


class Settled:
    """One of the bases, as if it were applied."""

    def __init__(self, base: Base, aws_url: str, folder: Path) -> None:
        self.base = base
        self.terraform = SettledTerraform(folder, aws_url)
        self.terraform.settle(environment(base))

    def refusals(self, rows: dict[str, May]) -> tuple[PlanRefusal, ...]:
        wanted = environment(self.base, *(row.change for row in rows.values()))
        return judge(read(self.terraform.plan(wanted)), wanted).refusals

    def culprits(self, rows: dict[str, May]) -> list[str]:
        """The fields of `rows` that are refused, each with why; empty where they are only together."""
        refusals = self.refusals(rows)
        if not refusals:
            return []
        if len(rows) == 1:
            return [f"{name}: {refusal}" for name in rows for refusal in refusals]
        items = list(rows.items())
        middle = len(items) // 2
        return [field for half in (items[:middle], items[middle:]) for field in self.culprits(dict(half))]


def test_fields_change_in_place(settled: Settled) -> None:
    services = {address for address in settled.terraform.resources if address.startswith("aws_ecs_service.fleets_")}
    assert PROTECTED[settled.base] | services <= set(settled.terraform.resources), "nothing there could be replaced"
    assert len(services) == 2 * len(environment(settled.base).fleets)
    for group in groups(settled.base):
        if refusals := settled.refusals(group):
            found = settled.culprits(group) or [f"only together: {refusal}" for refusal in refusals]
            pytest.fail("a change of these fields would end what must not end:\n" + "\n".join(found))


def test_fields_that_stay_are_refused_by_their_names(settled: Settled) -> None:
    rows = {name: row for name, row in ROWS.items() if isinstance(row, Stays) and row.base == settled.base}
    for name, row in rows.items():
        if name in ("name", "region"):  # Terraform looks for another environment: on recorded plans
            continue
        wanted = environment(settled.base, row.change)
        if name == "network.vpc_id":  # the VPC would have to exist while it is planned
            continue
        refusals = judge(read(settled.terraform.plan(wanted)), wanted).refusals
        assert [refusal.field for refusal in refusals] == [
            name.replace("(AURORA_SERVERLESS_V2)", "").replace("(SQS)", "")
        ]


def test_every_field_is_of_some_use(settled: Settled) -> None:
    """A field that changes nothing in the stack has no effect, and must not be offered."""
    before = stack_document(environment(settled.base))
    idle = [
        name
        for name, row in ROWS.items()
        if isinstance(row, May)
        and row.base == settled.base
        and stack_document(environment(row.base, row.change)) == before
    ]
    assert not idle, f"they change nothing: {', '.join(idle)}"
