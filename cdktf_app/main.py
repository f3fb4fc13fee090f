# SPDX-License-Identifier: Apache-2.0
"""Synthesis: an environment becomes the Terraform that a pipeline applies, in JSON.

The same environment gives the same bytes on every machine. What the CDK adds for its own command line (its manifest,
its metadata, a state file's absolute path) is left out: the JSON is committed, read in reviews and applied by Terraform
alone.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from cdktf_app.errors import CdkMissingError, NodeMissingError
from openmwaa.environment import Environment

_CDK_TARGETS: Final = {"terraform": ">=1.11.0"}
# Node 20 still runs the CDK and says on every start that it is old.
_QUIET: Final = "20"


def synth(environment: Environment, outdir: Path) -> Path:
    """Write the Terraform of `environment` to `outdir`/NAME/cdk.tf.json and return that path.

    Raises:
        SynthError: when the CDK or Node.js is missing.
    """
    text = json.dumps(document(environment), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    target = outdir / environment.name / "cdk.tf.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all: a Terraform that runs meanwhile never reads half a file.
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(target)
    return target


def document(environment: Environment) -> dict[str, Any]:
    """Return the Terraform of `environment` as the JSON document that `synth` writes."""
    _require()
    os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", _QUIET)
    # Importing the CDK starts Node and loads the provider's bindings: seconds that only synthesis pays for.
    from cdktn import App  # noqa: PLC0415

    from cdktf_app.environment_stack import EnvironmentStack  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="openmwaa-synth-") as scratch:
        app = App(outdir=scratch, context={"targetVersions": _CDK_TARGETS})
        EnvironmentStack(app, environment)
        app.synth()
        written = Path(scratch, "stacks", environment.name, "cdk.tf.json").read_text(encoding="utf-8")
    return cleaned(json.loads(written), environment.name)


def cleaned(written: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the CDK's document without its own metadata and its backend, and with a word on where it comes from."""
    document: dict[str, Any] = _without_metadata(written)
    document["terraform"].pop("backend", None)
    document["//"] = f"Written by `openmwaa synth` from the environment {name}: change its YAML file, not this."
    return document


def _without_metadata(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_metadata(item) for key, item in value.items() if key != "//"}
    if isinstance(value, list):
        return [_without_metadata(item) for item in value]
    return value


def _require() -> None:
    for package in ("cdktn", "cdktn_provider_aws"):
        if importlib.util.find_spec(package) is None:
            raise CdkMissingError(package)
    node = os.environ.get("JSII_NODE", "node")
    if shutil.which(node) is None:
        raise NodeMissingError(node)
