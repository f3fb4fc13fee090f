# SPDX-License-Identifier: Apache-2.0
"""A release has one version and the notes of its section in the changelog."""

import runpy
import tomllib
from pathlib import Path

import pytest

from tools import release_notes

ROOT = Path(__file__).parents[3]
CHANGELOG = "# Changelog\n\n## Unreleased\n\n- new\n\n## 0.2.0 (2026-12-01)\n\n- two\n\n## 0.1.0\n\n- one\n"


@pytest.mark.parametrize(
    ("version", "notes"),
    [("0.3.0.dev0", "- new\n"), ("0.2.0", "- two\n"), ("0.1.0", "- one\n"), ("0.2", None), ("0.3.0", None)],
)
def test_the_notes_are_the_section_of_the_version(version: str, notes: str | None) -> None:
    assert release_notes.section(CHANGELOG, version) == notes


def test_the_changelog_has_the_section_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert release_notes.section((ROOT / "CHANGELOG.md").read_text(), version)


def test_a_tag_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_REF_NAME", "v99.0.0")
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="The tag is not v0"):
        runpy.run_path(str(ROOT / "tools" / "release_notes.py"), run_name="__main__")
