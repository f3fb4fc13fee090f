# SPDX-License-Identifier: Apache-2.0
"""The AWS calls of Terraform with provider 5.100, by phase; `make verify PAGE=1` writes the file from all examples."""

import json
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_suffix(".json")


def loaded(file: Path = FILE) -> dict[str, list[str]]:
    """The calls of each phase as `SERVICE:Operation`."""
    phases: dict[str, dict[str, list[str]]] = json.loads(file.read_text(encoding="utf-8"))
    return {
        phase: [f"{service}:{name}" for service, names in services.items() for name in names]
        for phase, services in phases.items()
    }


RECORDING: Final = loaded()
