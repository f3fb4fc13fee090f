# SPDX-License-Identifier: Apache-2.0
"""Commands of openmwaa that a message shows: they work when pasted into a shell, in every folder."""

import shlex
import shutil
import sys
from pathlib import Path


def command(*words: str, file: Path) -> str:
    """Return the command `openmwaa WORDS FILE`, with the program's path if `openmwaa` is not this one on PATH."""
    return shlex.join([_program(), *words, str(file.parent.resolve() / file.name)])


def this_command() -> str:
    """Return the command of this process, in the folder where it was called."""
    return f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join([_program(), *sys.argv[1:]])}"


def _program() -> str:
    script = Path(sys.executable).with_name("openmwaa")
    known = not script.exists() or ((found := shutil.which("openmwaa")) and Path(found).samefile(script))
    return "openmwaa" if known else str(script)
