# SPDX-License-Identifier: Apache-2.0
"""`up` runs the synthesis again after a change of any file that the synthesis imports or reads."""

import shutil
from pathlib import Path

import pytest

from openmwaa.config.environment import Environment
from openmwaa.local.terraform.fingerprint import inputs_hash, synthesis_files
from tests.support.environments import LEAST

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def environment() -> Environment:
    return Environment.model_validate(LEAST)


@pytest.fixture
def copied_root(tmp_path: Path) -> Path:
    """A copy of the files that the fingerprint covers."""
    for file in synthesis_files():
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return tmp_path


@pytest.mark.parametrize(
    "file",
    [
        "cdktf_app/main.py",
        "cdktf_app/security/roles.py",
        "cdktf_app/lazy_provider.cjs",
        "cdktf_app/web/viewer_response.js",
        "openmwaa/config/environment_classes.py",
        "openmwaa/config/regions.json",
        "openmwaa/errors.py",
    ],
)
def test_the_hash_changes_with_a_file_of_the_synthesis(environment: Environment, copied_root: Path, file: str) -> None:
    before = inputs_hash(environment, copied_root)
    with (copied_root / file).open("a") as text:
        text.write(" ")
    assert inputs_hash(environment, copied_root) != before


def test_the_hash_changes_with_a_renamed_file_and_with_the_environment(
    environment: Environment, copied_root: Path
) -> None:
    before = inputs_hash(environment, copied_root)
    assert before == inputs_hash(environment), "a copy has the same hash"
    assert before != inputs_hash(environment.model_copy(update={"name": "other"}), copied_root)
    (copied_root / "cdktf_app/node.py").rename(copied_root / "cdktf_app/nodes.py")
    assert before != inputs_hash(environment, copied_root)
