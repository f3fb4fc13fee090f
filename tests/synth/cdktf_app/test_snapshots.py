# SPDX-License-Identifier: Apache-2.0
"""The stack of every example as lines, so that a review sees what a change does to all of them.

`make snapshots` writes them.
"""

import difflib
import json

import pytest

from tests.support.stack_summary import summary
from tests.support.synthesis import example_text
from tools.synthesise_examples import examples
from tools.write_snapshots import FOLDER, snapshot, snapshot_file

NAMES = list(examples())


@pytest.mark.parametrize("name", NAMES)
def test_the_stack_equals_its_snapshot(name: str) -> None:
    file = snapshot_file(name)
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    after = snapshot(example_text(name))
    difference = "\n".join(
        difflib.unified_diff(before.splitlines(), after.splitlines(), "reviewed", "now", lineterm="")
    )
    assert not difference, f"run `make snapshots` and review:\n{difference}"


def test_there_is_no_snapshot_of_a_deleted_example() -> None:
    assert {file.stem for file in FOLDER.glob("*.txt")} <= set(NAMES)


def test_a_changed_security_group_rule_is_in_the_difference() -> None:
    stack = json.loads(example_text("existing-vpc"))
    before = summary(stack)
    rules = stack["resource"]["aws_vpc_security_group_ingress_rule"]
    next(iter(rules.values())).pop("referenced_security_group_id", None)
    next(iter(rules.values()))["cidr_ipv4"] = "0.0.0.0/0"
    assert "0.0.0.0/0 ->" in set_difference(before, summary(stack))


def set_difference(before: str, after: str) -> str:
    return "\n".join(sorted(set(after.splitlines()) - set(before.splitlines())))
