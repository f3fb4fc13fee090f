# SPDX-License-Identifier: Apache-2.0
"""The process that verifies one example; `everything` starts it with its settings as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tools.verify.example import Settings, verify


def main(told: str) -> int:
    """Verify the example that was named and write its report."""
    settings = json.loads(told)
    try:
        report = verify(
            Path(settings["file"]),
            Settings(
                folder=Path(settings["folder"]),
                kind=settings["kind"],
                endpoint=settings["endpoint"],
                parallelism=settings["parallelism"],
            ),
            say=lambda text: print(text, flush=True),
        )
    except KeyboardInterrupt:
        return 130
    Path(settings["report"]).write_text(json.dumps(report.as_data()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
