# SPDX-License-Identifier: Apache-2.0
"""Seconds of 40 requirements: the check, the one build, and what they add to the start of each component."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from openmwaa.local.install import venvs

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = """
altair bokeh click-plugins cowsay duckdb elasticsearch fastavro folium geopandas gspread hvac jira jsonlines lightgbm
lxml matplotlib networkx nltk openpyxl pandas paramiko phonenumbers plotly polars pyarrow pymongo pymysql pyodbc
rapidfuzz scikit-learn scipy seaborn shapely simple-salesforce slack-sdk statsmodels stripe textblob unidecode
xlsxwriter
"""
PROGRAM = """
import json, os, sys, time
from pathlib import Path
from types import SimpleNamespace
from openmwaa_runtime.artefacts import build, requirements
from openmwaa_runtime.artefacts.resolver import own_architecture
folder = Path(sys.argv[1])
bucket = SimpleNamespace(name="local", environ=dict(os.environ), artefact=lambda kind, target: None)
began = time.monotonic()
text = (folder / "requirements.txt").read_text()
archive = build.Builder(bucket, text, folder, lambda line: None).build(own_architecture(), folder / "own")
built = time.monotonic()
requirements.sha256(archive)
requirements.unpack(archive, folder / "unpacked", "the archive")
unpacked = time.monotonic()
size = archive.stat().st_size / 1e6
print(json.dumps({"build_s": built - began, "start_added_s": unpacked - built, "archive_mb": size}))
"""


def measure() -> dict[str, Any]:
    """Return the seconds of one run with the packages that the index has today."""
    airflow = venvs.ensure(venvs.venv_of("airflow-3.3.2"), progress=print)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "requirements.txt")
        file.write_text("\n".join(PACKAGES.split()))
        began = time.monotonic()
        check = [sys.executable, "-c", "from openmwaa.cli import main; main()", "requirements", "check", str(file)]
        checked = subprocess.run(check, capture_output=True, text=True, timeout=600, cwd=name, check=False)
        seconds = time.monotonic() - began
        variables = {"PYTHONPATH": str(REPOSITORY / "images/airflow"), "OPENMWAA_UV": venvs.uv_program()}
        program = [str(airflow), "-c", PROGRAM, name]
        environ = {**os.environ, **variables}
        done = subprocess.run(program, env=environ, capture_output=True, text=True, timeout=900, check=True)
    found = {"packages": len(PACKAGES.split()), "fits": checked.returncode == 0, "check_s": seconds}
    found |= json.loads(done.stdout)
    print(checked.stdout or checked.stderr, flush=True)
    return {key: round(value, 2) for key, value in found.items()}
