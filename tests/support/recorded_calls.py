# SPDX-License-Identifier: Apache-2.0
"""The AWS calls of Terraform with provider 5.100, by phase; `make verify PAGE=1` writes the file from all examples."""

import json
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_suffix(".json")
RECORDING: Final[dict[str, list[str]]] = json.loads(FILE.read_text(encoding="utf-8"))
