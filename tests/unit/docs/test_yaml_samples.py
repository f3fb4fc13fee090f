# SPDX-License-Identifier: Apache-2.0
"""Every YAML sample of the documentation is an environment file, or a part of one."""

import re
from pathlib import Path

import pytest

from openmwaa.config.environment_file import loads
from openmwaa.config.yaml_reader import read_yaml
from tests.support.environments import LEAST

ROOT = Path(__file__).parents[3]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```ya?ml\n(?P<text>.*?)^\1```$", re.MULTILINE | re.DOTALL)
SAMPLES = [
    (f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, block.start()) + 2}", block["text"])
    for page in PAGES
    for text in [page.read_text(encoding="utf-8")]
    for block in BLOCK.finditer(text)
]
REST = {"name": f"name: {LEAST['name']}\n", "web_access": "web_access: {allow_http: true}\n"}
"""The required fields, for samples that leave them out."""


@pytest.mark.parametrize(("place", "text"), SAMPLES, ids=[place for place, _ in SAMPLES])
def test_a_sample_is_valid(place: str, text: str) -> None:
    data, _ = read_yaml(text, Path(place))
    loads(text + "".join(line for field, line in REST.items() if field not in data), Path(place))


def test_the_pages_have_samples() -> None:
    assert len(SAMPLES) > 15
