# SPDX-License-Identifier: Apache-2.0
"""Synthesis: writes an environment as Terraform JSON.

The same environment gives the same bytes on every machine. The CDK's own manifest, metadata and local backend path are
removed: the JSON is committed, reviewed and applied with Terraform only.
"""

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
    # Replace the file atomically: a Terraform that runs now must not read half of it.
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_text(written, encoding="utf-8")
    partial.replace(target)
    return target


def text(environment: Environment) -> str:
    """Return the text of the file that `synth` writes."""
    return json_text(document(environment))


def json_text(document: dict[str, Any]) -> str:
    """Return a document as the text of a file: one field a line, sorted."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def document(environment: Environment) -> dict[str, Any]:
    """Return the Terraform of `environment` as the JSON document that `synth` writes."""
    written, _ = synthesised(environment, stack_id=environment.name)
    return written


def synthesised(environment: Environment, *, stack_id: str) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the Terraform of `environment`, and the addresses of its resources that support tags."""
    with cdk_starting():
        # The import starts Node.js and loads the provider's bindings (seconds), so it happens here only.
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
    """Return the CDK's document without its metadata, with a comment that names the source.

    A local backend is removed, because it contains a path of this machine. An S3 backend stays.
    """
    document: dict[str, Any] = _without_metadata(written)
    if "s3" not in document["terraform"].get("backend", {}):
        document["terraform"].pop("backend", None)
    document["//"] = f"Written by `openmwaa synth` from the environment {name}: edit its YAML file, not this file."
    return document


def _without_metadata(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_metadata(item) for key, item in value.items() if not _is_metadata(key, item)}
    if isinstance(value, list):
        return [_without_metadata(item) for item in value]
    return value


def _is_metadata(key: str, value: Any) -> bool:
    return key == "//" and isinstance(value, dict)
