# SPDX-License-Identifier: Apache-2.0
"""The fingerprint of `openmwaa local up` covers every module of ours that a synthesis imports."""

import json
import subprocess
import sys
from pathlib import Path

from openmwaa.local.terraform.fingerprint import synthesis_files
from tests.support.environments import LEAST

ROOT = Path(__file__).resolve().parents[3]
SYNTH = """
import json, pathlib, sys
from cdktf_app.main import synth
from openmwaa.config.environment import Environment
synth(Environment.model_validate(json.loads(sys.argv[1])), pathlib.Path(sys.argv[2]))
print(json.dumps([module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)]))
"""


def test_the_fingerprint_covers_every_module_that_a_synthesis_imports(tmp_path: Path) -> None:
    command = (sys.executable, "-c", SYNTH, json.dumps(LEAST), str(tmp_path))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    imported = {Path(file).resolve() for file in json.loads(done.stdout.splitlines()[-1])}
    ours = {file for file in imported if ROOT in file.parents and ".venv" not in file.relative_to(ROOT).parts}
    assert ROOT / "openmwaa/config/environment_classes.py" in ours, "the synthesis has imported our modules"
    assert ours <= set(synthesis_files())
