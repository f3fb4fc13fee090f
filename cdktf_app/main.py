# SPDX-License-Identifier: Apache-2.0
"""Synthesis: an environment becomes the Terraform that a pipeline applies, in JSON.

The same environment gives the same bytes on every machine. What the CDK adds for its own command line (its manifest,
its metadata, a state file's absolute path) is left out: the JSON is committed, read in reviews and applied by Terraform
alone.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from cdktf_app.node import cdk_starting
from openmwaa.config.environment import Environment

_CDK_TARGETS: Final = {"terraform": ">=1.11.0"}


def synth(environment: Environment, outdir: Path) -> Path:
    """Write the Terraform of `environment` to `outdir`/NAME/cdk.tf.json and return that path.

    Raises:
        SynthError: when the CDK or Node.js is missing.
    """
    written = text(environment)
    target = outdir / environment.name / "cdk.tf.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all: a Terraform that runs meanwhile never reads half a file.
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_text(written, encoding="utf-8")
    partial.replace(target)
    return target


def text(environment: Environment) -> str:
    """Return what `synth` writes: the same bytes for the same environment."""
    return json.dumps(document(environment), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def document(environment: Environment) -> dict[str, Any]:
    """Return the Terraform of `environment` as the JSON document that `synth` writes."""
    written, _ = synthesised(environment, stack_id=environment.name)
    return written


def synthesised(environment: Environment, *, stack_id: str) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the Terraform of `environment`, and the addresses of its resources that can have tags."""
    with cdk_starting():
        # Importing the CDK starts Node and loads the provider's bindings: only synthesis pays for that.
        from cdktn import App  # noqa: PLC0415

        from cdktf_app.environment_stack import EnvironmentStack  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="openmwaa-synth-") as scratch:
        app = App(outdir=scratch, context={"targetVersions": _CDK_TARGETS})
        stack = EnvironmentStack(app, environment, stack_id=stack_id)
        app.synth()
        written = Path(scratch, "stacks", stack_id, "cdk.tf.json").read_text(encoding="utf-8")
        taggable = stack.taggable
    return cleaned(json.loads(written), environment.name), taggable


def cleaned(written: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the CDK's document without its own metadata, and with a word on where it comes from.

    Its local backend goes too: it names a file of this machine. An S3 backend is the user's own, and stays.
    """
    document: dict[str, Any] = _without_metadata(written)
    if "s3" not in document["terraform"].get("backend", {}):
        document["terraform"].pop("backend", None)
    document["//"] = f"Written by `openmwaa synth` from the environment {name}: change its YAML file, not this."
    return document


def _without_metadata(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_metadata(item) for key, item in value.items() if not _is_metadata(key, item)}
    if isinstance(value, list):
        return [_without_metadata(item) for item in value]
    return value


def _is_metadata(key: str, value: Any) -> bool:
    return key == "//" and isinstance(value, dict)
