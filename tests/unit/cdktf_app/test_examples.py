# SPDX-License-Identifier: Apache-2.0
"""The examples: terraform/ is up to date, and contains no real account."""

import re
from pathlib import Path

import pytest

from tools.synthesise_examples import ROOT, examples, files, out_of_date

NAMES = ("existing-vpc", "many-fleets", "minimal", "private", "production", "quickstart")
EXAMPLE_ACCOUNT = "123456789012"  # AWS's own in its documentation


@pytest.fixture(scope="module")
def written() -> dict[Path, str]:
    return files()


def test_there_is_one_of_each_kind() -> None:
    assert tuple(examples()) == NAMES


def test_the_committed_terraform_is_up_to_date(written: dict[Path, str]) -> None:
    assert out_of_date(written) == [], "run `make synth` and review the difference"


def test_there_is_no_stack_of_a_deleted_example(written: dict[Path, str]) -> None:
    committed = set((ROOT / "terraform").glob("*/cdk.tf.json"))
    assert committed <= set(written), "delete what no example says any more"


def test_a_change_is_detected(written: dict[Path, str]) -> None:
    first, *_ = written
    assert out_of_date({first: written[first] + "\n"}) == [str(first.relative_to(ROOT))]


@pytest.mark.parametrize("name", NAMES)
def test_only_the_documentation_account_appears(name: str, written: dict[Path, str]) -> None:
    texts = (examples()[name].read_text(encoding="utf-8"), written[ROOT / "terraform" / name / "cdk.tf.json"])
    for text in texts:
        assert set(re.findall(r"(?<![0-9a-f-])\d{12}(?![0-9a-f])", text)) <= {EXAMPLE_ACCOUNT}


@pytest.mark.parametrize("name", NAMES)
def test_every_example_has_an_explanation(name: str) -> None:
    first, second, *_ = examples()[name].read_text(encoding="utf-8").splitlines()
    assert first == "# yaml-language-server: $schema=../../docs/reference/environment.schema.json"
    assert second.startswith("# "), "a first sentence says who wants this example"
