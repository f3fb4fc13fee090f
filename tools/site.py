# SPDX-License-Identifier: Apache-2.0
"""`make site`: runs mkdocs on mkdocs.yml in a virtual environment of its own.

mkdocs.yml also names this file as a hook: a link that leaves docs/ leads to the file in the repository.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
_LINK: Final = re.compile(r"(?<=]\()(?:\.\./)+[^)\s]+")


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Return the text of a page with addresses of files outside docs/: at GitHub in a workflow, else in this folder."""
    repository = ROOT.as_uri()
    if name := os.environ.get("GITHUB_REPOSITORY"):
        repository = f"{os.environ['GITHUB_SERVER_URL']}/{name}/blob/{os.environ['GITHUB_SHA']}"

    def address(link: re.Match[str]) -> str:
        target = os.path.normpath(Path("docs", page.file.src_uri).parent / link[0])
        return link[0] if target.startswith("docs/") else f"{repository}/{target}"

    return _LINK.sub(address, markdown)


def main() -> None:
    """Run mkdocs with the same arguments."""
    from openmwaa.local.install import venvs  # noqa: PLC0415 - mkdocs imports this file without openmwaa

    python = venvs.ensure(venvs.venv_of("site"), progress=print)
    sys.exit(subprocess.call((python, "-m", "mkdocs", *sys.argv[1:]), cwd=ROOT))


if __name__ == "__main__":
    main()
