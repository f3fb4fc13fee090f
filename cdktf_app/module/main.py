# SPDX-License-Identifier: Apache-2.0
"""Synthesis of the Terraform module: main.tf.json, variables.tf.json, outputs.tf.json and README.md."""

import json
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from cdktf_app.base.resource_names import deferred_names
from cdktf_app.environment_stack import PROVIDER_VERSION
from cdktf_app.main import synthesised
from cdktf_app.module.module_environment import CLASSES, OPTIONS, TAGS, module_environment
from cdktf_app.module.readme import readme
from cdktf_app.module.variables import variables
from openmwaa.config.environment import Environment
from openmwaa.config.environment_classes import ENVIRONMENT_CLASSES

_STACK: Final = "module"
# `core.default_task_retries` is AIRFLOW__CORE__DEFAULT_TASK_RETRIES, as `option_variable` writes it.
_OPTION_VARIABLE: Final = (
    'format("AIRFLOW__%s__%s", replace(upper(replace(option, "/[.][^.]*$/", "")), "/[^A-Z0-9]/", "_"), '
    'upper(replace(option, "/^.*[.]/", "")))'
)


def synth_module(environment: Environment, folder: Path) -> list[Path]:
    """Write the environment's module to `folder` and return the paths of the files.

    Raises:
        SynthError: when the CDK or Node.js is missing.
    """
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files(environment).items():
        path = folder / name
        path.write_text(content, encoding="utf-8")
        written.append(path)
    return written


def files(environment: Environment) -> dict[str, str]:
    """Return the module's files: name to content."""
    known = variables(environment)
    with deferred_names() as names:
        written, taggable = synthesised(module_environment(environment, known), stack_id=_STACK)
    written["locals"] |= names
    outputs = written.pop("output")
    return {
        "main.tf.json": _json(_module(written, environment, taggable)),
        "variables.tf.json": _json({"variable": {name: variable.as_terraform() for name, variable in known.items()}}),
        "outputs.tf.json": _json({"output": outputs}),
        "README.md": readme(environment, list(known.values()), outputs, PROVIDER_VERSION),
    }


def _module(document: dict[str, Any], environment: Environment, taggable: Collection[str]) -> dict[str, Any]:
    """Return the stack's document as a module, without provider, backend and default tags."""
    aliases = [provider["alias"] for provider in document.pop("provider")["aws"] if "alias" in provider]
    if aliases:
        document["terraform"]["required_providers"]["aws"]["configuration_aliases"] = [
            f"aws.{alias}" for alias in aliases
        ]
    document["//"] = (
        f"Written by `openmwaa synth --module` from the environment {environment.name}: "
        "edit its YAML file, not this file."
    )
    document["locals"] |= _locals(environment)
    _tag(document, taggable)
    _check_region(document, environment.region)
    return document


def _locals(environment: Environment) -> dict[str, Any]:
    classes = {name: asdict(sizes) for name, sizes in ENVIRONMENT_CLASSES.items()}
    options = f"${{{{ for option, value in var.airflow_configuration_options : {_OPTION_VARIABLE} => value }}}}"
    return {CLASSES: classes, OPTIONS: options, TAGS: '${merge(var.tags, { "openmwaa:environment" = var.name })}'}


def _tag(document: dict[str, Any], taggable: Collection[str]) -> None:
    """Add the default tags to every resource: a module has no provider of its own."""
    for kind, resources in document["resource"].items():
        for name, resource in resources.items():
            if f"{kind}.{name}" not in taggable:
                continue
            tags = f"local.{TAGS}"
            if own := resource.get("tags"):
                document["locals"][f"{kind}_{name}_tags"] = own
                tags = f"merge(local.{TAGS}, local.{kind}_{name}_tags)"
            resource["tags"] = f"${{{tags}}}"


def _check_region(document: dict[str, Any], region: str) -> None:
    """Add a check that the caller's provider is of `region`, which is part of policies and host names."""
    document["data"].setdefault("aws_region", {})["module"] = {
        "lifecycle": {
            "postcondition": [
                {
                    "condition": f'${{self.id == "{region}"}}',
                    "error_message": f"This module was synthesised for {region}; use a provider of that Region.",
                }
            ]
        }
    }


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
