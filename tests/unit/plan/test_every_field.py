# SPDX-License-Identifier: Apache-2.0
"""Every field of environment.yaml has a row: it can change after the first apply or not."""

import pytest

from openmwaa.plan.immutable_fields import IMMUTABLE_FIELDS
from openmwaa.plan.verdict import CAUSES
from tests.support.every_field import BASES, ROWS, Base, NotTried, Stays, environment, fields, groups

TRIED = {name: row for name, row in ROWS.items() if not isinstance(row, NotTried)}


def test_every_field_has_a_row() -> None:
    missing, gone = set(fields()) - set(ROWS), set(ROWS) - set(fields())
    assert not missing, f"may they change? Say so in tests/support/every_field.py: {', '.join(sorted(missing))}"
    assert not gone, f"there are no such fields any more: {', '.join(sorted(gone))}"


@pytest.mark.parametrize("name", TRIED)
def test_each_row_has_another_value(name: str) -> None:
    row = TRIED[name]
    assert environment(row.base, row.change) != environment(row.base), "the row has the value of the file"


def test_immutable_rows_are_the_refused_fields() -> None:
    stays = {name for name, row in ROWS.items() if isinstance(row, Stays)}
    refused = {field.name for field in IMMUTABLE_FIELDS} | set(CAUSES.values())
    kinds = {
        "metadata_database.kind": "metadata_database(AURORA_SERVERLESS_V2).kind",
        "broker.kind": "broker(SQS).kind",
    }
    assert stays == {kinds.get(field, field) for field in refused}


@pytest.mark.parametrize("base", BASES)
def test_groups_have_every_field_that_may_change(base: Base) -> None:
    grouped = groups(base)
    names = [name for group in grouped for name in group]
    assert len(names) == len(set(names))
    assert len(grouped) <= 2, "each group is a plan, which takes 10 s: let the new row agree with the others"
