# SPDX-License-Identifier: Apache-2.0
"""The stack of every example in lines, so that a review sees what a change does to all of them.

`make snapshots` writes them anew. They are made of the committed JSON, which test_examples.py holds to the examples.
"""

import difflib
import json
from pathlib import Path

import pytest

from tests.support.stack_summary import summary
from tools.write_snapshots import FOLDER, STACKS, written

NAMES = [file.parent.name for file in STACKS]


@pytest.mark.parametrize("name", NAMES)
def test_the_stack_equals_its_snapshot(name: str) -> None:
    file = FOLDER / f"{name}.txt"
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    after = written()[file]
    difference = "\n".join(
        difflib.unified_diff(before.splitlines(), after.splitlines(), "reviewed", "now", lineterm="")
    )
    assert not difference, f"run `make snapshots` and review:\n{difference}"


def test_there_is_no_snapshot_of_a_deleted_example() -> None:
    assert {file.stem for file in FOLDER.glob("*.txt")} <= set(NAMES)


def test_a_changed_security_group_rule_changes_the_snapshot() -> None:
    stack = json.loads(Path(STACKS[0]).read_text(encoding="utf-8"))
    before = summary(stack)
    rules = stack["resource"]["aws_vpc_security_group_ingress_rule"]
    next(iter(rules.values())).pop("referenced_security_group_id", None)
    next(iter(rules.values()))["cidr_ipv4"] = "0.0.0.0/0"
    assert "0.0.0.0/0 ->" in set_difference(before, summary(stack))


def set_difference(before: str, after: str) -> str:
    return "\n".join(sorted(set(after.splitlines()) - set(before.splitlines())))
