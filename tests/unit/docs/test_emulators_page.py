# SPDX-License-Identifier: Apache-2.0
"""The page of the emulators has every attribute that a second plan ignores, and every known wrong answer."""

import re

from openmwaa.local.terraform import terraform_override
from tests.contract.aws_services.localstack_differences import DIFFERENCES
from tools.verify.report import ROOT


def test_the_page_has_every_ignored_attribute() -> None:
    page = (ROOT / "docs/reference/emulators.md").read_text(encoding="utf-8")
    rows = {
        row[0]: set(re.findall(r"`(\w+)`", row[1])) for row in re.findall(r"(?m)^\| `(aws_\w+)`.*?\| (.*) \|$", page)
    }
    assert rows == {kind: set(names) for kind, names in terraform_override._NOT_RETURNED.items()}


def test_the_page_has_every_known_wrong_answer_of_localstack() -> None:
    page = (ROOT / "docs/reference/emulators.md").read_text(encoding="utf-8")
    section = page.partition("## Known wrong answers of LocalStack\n")[2].partition("\n## ")[0]
    rows = [tuple(row.strip("| ").split(" | ")) for row in re.findall(r"(?m)^\|.*\|$", section)][2:]
    assert rows == [(row.call, row.aws, row.localstack) for row in DIFFERENCES]
    assert len({row.name for row in DIFFERENCES}) == len(DIFFERENCES)
    assert all(row.aws != row.localstack for row in DIFFERENCES)
