# SPDX-License-Identifier: Apache-2.0
"""Writes tests/synth/cdktf_app/snapshots: every example's stack as lines for a review. `make snapshots` calls it."""

import json
from pathlib import Path
from typing import Final

from tests.support.stack_summary import summary
from tools.synthesise_examples import examples, stack_text

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "tests/synth/cdktf_app/snapshots"


def snapshot_file(name: str) -> Path:
    """Return the file of the snapshot of the example `name`."""
    return FOLDER / f"{name}.txt"


def snapshot(stack_text: str) -> str:
    """Return the snapshot of a synthesised stack."""
    return summary(json.loads(stack_text))


def main() -> None:
    """Write all snapshots, and remove those of deleted examples."""
    FOLDER.mkdir(exist_ok=True)
    texts = {snapshot_file(name): snapshot(stack_text(name)) for name in examples()}
    for file in set(FOLDER.glob("*.txt")) - set(texts):
        file.unlink()
    for file, text in texts.items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
