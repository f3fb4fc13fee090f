# SPDX-License-Identifier: Apache-2.0
"""The examples: the committed files below terraform/ are up to date, and no example names a real account."""

import json
import re
from pathlib import Path

import pytest

from tests.support.synthesis import example_text
from tools.synthesise_examples import COMMITTED, ROOT, committed_files, examples, out_of_date

NAMES = ("existing-vpc", "many-fleets", "micro", "minimal", "private", "production", "quickstart")
EXAMPLE_ACCOUNT = "123456789012"  # AWS uses it in its documentation


@pytest.fixture(scope="module")
def committed() -> dict[Path, str]:
    return committed_files()


def test_there_is_one_of_each_kind() -> None:
    assert tuple(examples()) == NAMES


def test_the_committed_terraform_is_up_to_date(committed: dict[Path, str]) -> None:
    assert out_of_date(committed) == [], "run `make synth` and review the difference"


def test_git_ignores_the_stacks_of_the_other_examples() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    stacks = {line for line in ignored if line.startswith("/terraform/")}
    assert stacks == {f"/terraform/{name}/" for name in NAMES if name not in COMMITTED}


def test_every_stack_below_terraform_is_of_an_example() -> None:
    stacks = {file.parent.name for file in (ROOT / "terraform").glob("*/cdk.tf.json")}
    assert set(COMMITTED) <= stacks <= set(NAMES), "delete the stacks of deleted examples"


def test_a_change_is_detected(committed: dict[Path, str]) -> None:
    first, *_ = committed
    assert out_of_date({first: committed[first] + "\n"}) == [str(first.relative_to(ROOT))]


def test_a_synthesised_stack_is_not_shortened() -> None:
    """Stacks are written with one field a line: a difference shows what changed."""
    stack = example_text("minimal")
    assert stack == json.dumps(json.loads(stack), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", NAMES)
def test_only_the_documentation_account_appears(name: str) -> None:
    for text in (examples()[name].read_text(encoding="utf-8"), example_text(name)):
        assert set(re.findall(r"(?<![0-9a-f-])\d{12}(?![0-9a-f])", text)) <= {EXAMPLE_ACCOUNT}


@pytest.mark.parametrize("name", NAMES)
def test_every_example_has_an_explanation(name: str) -> None:
    first, second, *_ = examples()[name].read_text(encoding="utf-8").splitlines()
    assert first == "# yaml-language-server: $schema=../../docs/reference/environment.schema.json"
    assert second.startswith("# "), "the second line states the use of the example"
