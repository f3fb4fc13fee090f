# SPDX-License-Identifier: Apache-2.0
"""Writes the committed files of terraform/ in one process: the stack of every example, and the module.

`make synth` calls it. With `--check` it names the outdated files and exits with 1.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from cdktf_app.main import text
from cdktf_app.module.main import files as module_files
from openmwaa.environment_file import load

ROOT = Path(__file__).parents[1]
TERRAFORM = ROOT / "terraform"
MODULE_OF = "production"  # the example with the most variables


def examples() -> dict[str, Path]:
    """Return the file of every example by the name of the example."""
    return {path.parent.name: path for path in sorted((ROOT / "examples").glob("*/environment.yaml"))}


def files() -> dict[Path, str]:
    """Return the content of every generated file of terraform/."""
    stacks = {TERRAFORM / name / "cdk.tf.json": text(load(path)) for name, path in examples().items()}
    module = module_files(load(examples()[MODULE_OF]))
    return stacks | {TERRAFORM / "module" / name: content for name, content in module.items()}


def out_of_date(written: Mapping[Path, str]) -> list[str]:
    """Return the paths of the files that are missing, or differ from `written`."""
    return [
        str(path.relative_to(ROOT))
        for path, content in written.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != content
    ]


def main() -> None:
    """Write every file, or with `--check` name the outdated files and exit with 1."""
    written = files()
    stale = out_of_date(written)
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"out of date: {', '.join(stale)}; run `make synth` and review the difference")
        return
    for path, content in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        print(path.relative_to(ROOT), "written" if str(path.relative_to(ROOT)) in stale else "unchanged")


if __name__ == "__main__":
    main()
