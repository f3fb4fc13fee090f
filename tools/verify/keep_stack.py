# SPDX-License-Identifier: Apache-2.0
"""Keep the present stack of the quickstart, which later versions must be able to upgrade: `keep_stack VERSION`."""

import gzip
import json
import sys
import tempfile
from pathlib import Path

from cdktf_app.main import document
from openmwaa.config.environment_file import load
from tools.verify.test_deploy import EARLIER, environment_text


def main() -> None:
    """Write the stack beside those of earlier versions."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "environment.yaml"
        file.write_text(environment_text(), encoding="utf-8")
        stack = json.dumps(document(load(file)), sort_keys=True, separators=(",", ":"))
    EARLIER.mkdir(exist_ok=True)
    (EARLIER / f"quickstart-{sys.argv[1]}.json.gz").write_bytes(gzip.compress(stack.encode(), mtime=0))


if __name__ == "__main__":
    main()
