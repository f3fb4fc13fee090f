# SPDX-License-Identifier: Apache-2.0
"""The process of `openmwaa dags check` ends when it has its result."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.emulated

PROGRAM = """
import sys, threading
from types import SimpleNamespace
from openmwaa_runtime import __main__, check_dags

def load_dags(folder):
    threading.Thread(target=threading.Event().wait).start()
    return SimpleNamespace(file_last_changed=[], import_errors={}, dags={})

check_dags.load_dags = load_dags
__main__.run(["check-dags", ".", "[]", sys.argv[1]], {})
"""


def test_a_thread_of_a_dags_file_does_not_hold_the_check(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    done = subprocess.run([sys.executable, "-c", PROGRAM, result], check=False, timeout=60)
    assert (done.returncode, json.loads(result.read_text())["findings"]) == (0, [])
