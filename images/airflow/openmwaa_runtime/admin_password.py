# SPDX-License-Identifier: Apache-2.0
"""The passwords file of Airflow's SimpleAuthManager: one user with a generated password, readable by its owner only."""

import json
import os
import tempfile
from pathlib import Path

ADMINISTRATOR = "admin"


def write_passwords(path: Path, password: str) -> None:
    """Write or replace the file atomically, with mode 0600 from the start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # 0600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({ADMINISTRATOR: password}, file)
    Path(temporary).replace(path)
