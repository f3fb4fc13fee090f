# SPDX-License-Identifier: Apache-2.0
"""The Makefile works from every folder, and in a folder with blanks in its path."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[3] / "Makefile"
TARGETS = re.findall(r"^([a-z]+):", MAKEFILE.read_text(encoding="utf-8"), re.MULTILINE)

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on PATH")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "a clone  of mine"
    folder.mkdir()
    shutil.copy(MAKEFILE, folder)
    return folder


def make(folder: Path, *words: str) -> str:
    done = subprocess.run(("make", *words), cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("start", ["in the folder", "with -f", "with -C"])
def test_a_folder_with_blanks_is_one_word(folder: Path, start: str) -> None:
    options = {"in the folder": [], "with -f": ["-f", str(folder / "Makefile")], "with -C": ["-C", str(folder)]}[start]
    where = folder if start == "in the folder" else folder.parent
    printed = make(where, "-n", "--no-print-directory", *options, *TARGETS).replace("\\\n", " ")
    words = [word for line in printed.splitlines() for word in shlex.split(line)]
    paths = [word for word in words if str(folder.parent) in word]
    assert len(paths) >= len(TARGETS), printed
    assert not [path for path in paths if str(folder) not in path], printed


def test_the_targets_are_listed_from_another_folder(folder: Path) -> None:
    assert "demo" in make(folder.parent, "-f", str(folder / "Makefile"))


def test_programs_run_in_the_folder_of_the_makefile(folder: Path) -> None:
    for program, text in ((".venv/bin/codespell", "#!/bin/sh\npwd\n"), ("tools/bootstrap", "#!/bin/sh\n")):
        file = folder / program
        file.parent.mkdir(parents=True)
        file.write_text(text)
        file.chmod(0o755)
    assert make(folder.parent, "-f", str(folder / "Makefile"), "words") == f"{folder}\n"
