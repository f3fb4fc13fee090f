# SPDX-License-Identifier: Apache-2.0
"""`make dist`: writes the changelog's section of pyproject.toml's version to build/release-notes.md."""

import os
import re
import sys
import tomllib
from pathlib import Path


def section(changelog: str, version: str) -> str | None:
    """Return the section of a version, or of the unreleased changes for a development version; None: there is none."""
    heading = "Unreleased" if ".dev" in version else re.escape(version)
    found = re.search(rf"^## {heading}(?![\w.]).*\n((?:(?!## ).*\n)*)", changelog, re.MULTILINE)
    return f"{found[1].strip()}\n" if found else None


if __name__ == "__main__":
    version = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if os.environ.get("GITHUB_REF_NAME", f"v{version}") != f"v{version}":
        sys.exit(f"The tag is not v{version}, the version of pyproject.toml.")
    notes = section(Path("CHANGELOG.md").read_text(encoding="utf-8"), version)
    Path("build").mkdir(exist_ok=True)
    Path("build/release-notes.md").write_text(notes or sys.exit(f"CHANGELOG.md has no section {version}."))
