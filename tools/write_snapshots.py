# SPDX-License-Identifier: Apache-2.0
"""Writes tests/unit/cdktf_app/snapshots: a summary of every example's stack for reviews. `make snapshots` calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from tests.support.stack_summary import summary

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "tests/unit/cdktf_app/snapshots"
STACKS: Final = sorted((ROOT / "terraform").glob("*/cdk.tf.json"))


def written() -> dict[Path, str]:
    """Return the text of every snapshot by its file."""
    return {
        FOLDER / f"{file.parent.name}.txt": summary(json.loads(file.read_text(encoding="utf-8"))) for file in STACKS
    }


def main() -> None:
    """Write all snapshots, and remove those of deleted examples."""
    FOLDER.mkdir(exist_ok=True)
    texts = written()
    for file in set(FOLDER.glob("*.txt")) - set(texts):
        file.unlink()
    for file, text in texts.items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
