# SPDX-License-Identifier: Apache-2.0
"""Writes the Terraform of every example and the module below terraform/, in one process. `make synth` calls it.

Two examples and the module are committed, for readers and for a review. The other examples are in .gitignore: a tool or
a test that needs one synthesises it by `stack_text`. With `--check` nothing is written, and the command exits with 1
when a committed file is out of date.
"""

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from cdktf_app.main import text
from cdktf_app.module.main import files as module_files
from openmwaa.config.environment_file import load

ROOT = Path(__file__).parents[1]
TERRAFORM = ROOT / "terraform"
COMMITTED: Final = ("production", "quickstart")
MODULE_OF = "production"  # the example with the most variables


def examples() -> dict[str, Path]:
    """Return the file of every example by the name of the example."""
    return {path.parent.name: path for path in sorted((ROOT / "examples").glob("*/environment.yaml"))}


@cache
def stack_text(name: str) -> str:
    """Return the stack of the example `name` as `openmwaa synth` writes it: 3 s once in a process."""
    return text(load(examples()[name]))


def stack_file(name: str) -> Path:
    """Return the file that gets the stack of the example `name`."""
    return TERRAFORM / name / "cdk.tf.json"


def committed_files() -> dict[Path, str]:
    """Return what every committed file of terraform/ that a program writes must contain."""
    stacks = {stack_file(name): stack_text(name) for name in COMMITTED}
    module = module_files(load(examples()[MODULE_OF]))
    return stacks | {TERRAFORM / "module" / name: content for name, content in module.items()}


def ignored_files() -> dict[Path, str]:
    """Return the content of every stack that is written below terraform/ and not committed."""
    return {stack_file(name): stack_text(name) for name in examples() if name not in COMMITTED}


def out_of_date(written: Mapping[Path, str]) -> list[str]:
    """Return the paths of the files that are missing, or differ from what was `written` now."""
    return [
        str(path.relative_to(ROOT))
        for path, content in written.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != content
    ]


def main() -> None:
    """Write every file, or with `--check` name those that are out of date and exit with 1."""
    committed = committed_files()
    if "--check" in sys.argv[1:]:
        if stale := out_of_date(committed):
            sys.exit(f"run `make synth` and review the difference: {', '.join(stale)}")
        return
    files = committed | ignored_files()
    stale = out_of_date(files)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        print(path.relative_to(ROOT), "is written" if str(path.relative_to(ROOT)) in stale else "is unchanged")


if __name__ == "__main__":
    main()
