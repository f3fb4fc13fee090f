# SPDX-License-Identifier: Apache-2.0
"""Every test that the security page names exists in the file of its link."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs/explanation/security.md"
NAMED = re.compile(r"\[`(?P<name>test_\w+)`\]\((?P<file>[^)]+)\)")


def test_every_named_test_exists() -> None:
    found = [(match["name"], PAGE.parent / match["file"]) for match in NAMED.finditer(PAGE.read_text("utf-8"))]
    missing = [name for name, file in found if not re.search(rf"def {name}\(", file.read_text("utf-8"))]
    assert len(found) > 50
    assert missing == []
