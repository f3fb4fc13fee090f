# SPDX-License-Identifier: Apache-2.0
"""The page of the emulators has every attribute that a second plan ignores."""

import re

from openmwaa.local.terraform import terraform_override
from tools.verify.report import ROOT


def test_the_page_has_every_ignored_attribute() -> None:
    page = (ROOT / "docs/reference/emulators.md").read_text(encoding="utf-8")
    rows = {
        row[0]: set(re.findall(r"`(\w+)`", row[1])) for row in re.findall(r"(?m)^\| `(aws_\w+)`.*?\| (.*) \|$", page)
    }
    assert rows == {kind: set(names) for kind, names in terraform_override._NOT_RETURNED.items()}
