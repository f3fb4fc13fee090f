# SPDX-License-Identifier: Apache-2.0
"""Stacks of test environments, synthesised once in a run of tests, in the process that needs a stack first.

A synthesis takes 2 to 3 s, and 5 s more the first time in a process. A test of the synthesis itself calls
`cdktf_app.main`.
"""

import fcntl
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load

EXAMPLES = Path(__file__).parents[2] / "examples"


class Stacks:
    """The folder of synthesised stacks that all processes of a run share."""

    folder: Path


@pytest.fixture(scope="session", autouse=True)
def stacks_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Choose the folder: under pytest-xdist the parent of the processes' own folders."""
    own = tmp_path_factory.getbasetemp()
    Stacks.folder = (own.parent if own.name.startswith("popen-") else own) / "stacks"
    Stacks.folder.mkdir(exist_ok=True)


def stack_text(environment: Environment) -> str:
    """Return the text of cdk.tf.json for `environment`."""
    from cdktf_app.main import document, json_text

    # The fields that are set identify an environment, because no model has private or secret fields.
    fields = environment.model_dump_json(exclude_unset=True)
    file = Stacks.folder / f"{hashlib.sha256(fields.encode()).hexdigest()}.json"
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            partial = file.with_suffix(".partial")
            partial.write_text(json_text(document(environment)), encoding="utf-8")
            partial.replace(file)
        return file.read_text(encoding="utf-8")


def stack_document(environment: Environment) -> dict[str, Any]:
    """Return a stack as a document; each call returns a new copy, which a test may change."""
    written: dict[str, Any] = json.loads(stack_text(environment))
    return written


def example_text(name: str) -> str:
    """Return the text of cdk.tf.json for the example `name`."""
    return stack_text(load(EXAMPLES / name / "environment.yaml"))
