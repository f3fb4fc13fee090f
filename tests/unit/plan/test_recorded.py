# SPDX-License-Identifier: Apache-2.0
"""Recordings hold the fields that openmwaa/plan reads, and a line for each resource."""

from typing import Any

import pytest

from openmwaa.plan.changes import read
from tests.support.recorded_plan import CHANGES, FOLDER, STATE_FILE, as_text, recorded, stripped


@pytest.mark.parametrize("name", CHANGES)
def test_a_recording_is_stripped(name: str) -> None:
    plan = recorded(name)
    assert stripped(plan) == plan
    state = plan.pop("prior_state")
    assert as_text(plan) + "\n" == (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert as_text(state) + "\n" == STATE_FILE.read_text(encoding="utf-8")


def test_there_is_no_recording_of_a_deleted_change() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == {*CHANGES, STATE_FILE.stem}


def resource(address: str, **fields: Any) -> dict[str, Any]:
    kind, name = address.split(".")
    return {"address": address, "mode": "managed", "type": kind, "name": name, "provider_name": "aws", **fields}


def test_stripping_keeps_the_values_that_cannot_change() -> None:
    before, after = {"name": "a", "code": 1, "tags": {}}, {"name": "b", "code": 2}
    replaced = {"actions": ["delete", "create"], "replace_paths": [["name"], ["code"]]}
    sensitive = {"before_sensitive": {"code": True, "tags": {}}, "after_sensitive": {}}
    change = {**replaced, **sensitive, "before": before, "after": after, "after_unknown": {"arn": True}}
    state = {"cidr_block": "10.0.0.0/16", "tags": {"a": "b"}}
    plan: dict[str, Any] = {
        "format_version": "1.2",
        "resource_changes": [
            resource("aws_lb.replaced", change=change),
            resource("aws_lb.unchanged", change={"actions": ["no-op"], "before": before, "after": before}),
            resource("aws_lb.unwritten", change={"actions": ["update"], "before": before, "after": after}),
        ],
        "output_changes": {"url": {"actions": ["update"], "before": "a", "after": "b"}, "id": {"actions": ["no-op"]}},
        "prior_state": {
            "format_version": "1.0",
            "values": {"root_module": {"resources": [resource("aws_vpc.network", values=state)]}},
        },
        "configuration": {},
    }
    kept = stripped(plan, {"aws_lb.unwritten"})
    assert [resource["change"] for resource in kept["resource_changes"]] == [
        {
            **replaced,
            "before": {"name": "a", "code": 1},
            "after": {"name": "b", "code": 2},
            "before_sensitive": {"code": True},
        }
    ]
    assert kept["output_changes"] == {"url": {"actions": ["update"]}}
    (resource_before,) = read(kept).before
    assert resource_before.values == {"cidr_block": "10.0.0.0/16"}
    assert read(kept).changes == read(plan).changes[:1]
