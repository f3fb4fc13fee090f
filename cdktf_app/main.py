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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cdktf_app.errors import CdkMissingError, NodeMissingError
from openmwaa.environment import Environment

_CDK_TARGETS: Final = {"terraform": ">=1.11.0"}
_LAZY_PROVIDER: Final = Path(__file__).with_name("lazy_provider.cjs")


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
    _require()
    with _environment(_how_the_cdk_starts()):
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


def _how_the_cdk_starts() -> dict[str, str]:
    """Return the variables with which the CDK's Node starts quietly, and loads of the provider only what is used."""
    # Quoted as Node wants it: a folder may have a blank in its name.
    lazily = '--require "{}"'.format(str(_LAZY_PROVIDER).replace("\\", "\\\\").replace('"', '\\"'))
    return {
        "NODE_OPTIONS": f"{os.environ.get('NODE_OPTIONS', '')} {lazily}".strip(),
        # Node 20 runs the CDK, which says on every start that it is old.
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
    }


def _is_metadata(key: str, value: Any) -> bool:
    return key == "//" and isinstance(value, dict)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _require() -> None:
    for package in ("cdktn", "cdktn_provider_aws"):
        if importlib.util.find_spec(package) is None:
            raise CdkMissingError(package)
    node = os.environ.get("JSII_NODE", "node")
    if shutil.which(node) is None:
        raise NodeMissingError(node)
