# SPDX-License-Identifier: Apache-2.0
"""One name for one class, and a map whose files exist."""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("openmwaa", "cdktf_app", "scaler", "worker_agent", "local_ecs", "simulation", "images", "tools")
MAP = ROOT / "docs/explanation/architecture.md"


def test_no_class_name_is_used_for_two_things() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(str(file.relative_to(ROOT)))
    twice = {name: files for name, files in found.items() if len(files) > 1}
    assert not twice, f"the same name for two classes: {twice}"


def test_every_file_of_the_map_exists() -> None:
    (table,) = re.findall(r"^## Where is it\?\n(.*?)^## ", MAP.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    paths = set(re.findall(r"`([a-z_]+/[a-z_/.]+)`", table))
    assert len(paths) > 25, "the table of the map is not found"
    missing = sorted(path for path in paths if not (ROOT / path).exists())
    assert not missing, f"docs/explanation/architecture.md names missing files: {missing}"
