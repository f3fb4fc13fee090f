# SPDX-License-Identifier: Apache-2.0
"""The passwords file of Airflow's SimpleAuthManager: one user, a generated secret, nobody else may read it."""

import json
import os
import tempfile
from pathlib import Path

ADMINISTRATOR = "admin"


def write_passwords(path: Path, password: str) -> None:
    """Write the file whole, mode 0600 from its first byte; a file that is there is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # 0600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({ADMINISTRATOR: password}, file)
    Path(temporary).replace(path)
