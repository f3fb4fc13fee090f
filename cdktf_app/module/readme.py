# SPDX-License-Identifier: Apache-2.0
"""The module's README: usage, inputs, outputs, and fields that are not inputs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cdktf_app.module.variables import Variable
from openmwaa.config.environment import Environment

_NOT_INPUTS: Final[Mapping[str, str]] = {
    "region": "it is part of policies and host names; the module refuses a provider of another Region",
    "airflow_version, architecture": "the image and its settings depend on them",
    "fleets, their queues, sizes and schedules": "each fleet has its own resources",
    "network": "they decide the number of subnets, routes, gateways and endpoints",
    "webserver_access_mode, web_access": "they decide whether a second load balancer or CloudFront exists",
    "metadata_database, broker": "they decide which AWS service is used",
    "identity, monitoring": "they decide which policies, alarms and subscriptions exist",
    "control_plane": "it decides which services exist; left out, it follows the class in the file, not the input",
    "sizes, scaler": "from the file; the environment class is an input",
    "terraform_state": "the caller configures the state",
}


def readme(
    environment: Environment, variables: Sequence[Variable], outputs: Mapping[str, Any], provider_version: str
) -> str:
    """Return the text of README.md."""
    lines = [
        f"# {environment.name}: an Airflow environment as a Terraform module",
        "",
        f"Written by `openmwaa synth --module` from the environment `{environment.name}`: edit its file, not this one.",
        "It is the stack of `openmwaa synth` without provider and backend, and with variables.",
        "",
        "```hcl",
        'module "airflow" {',
        '  source = "./module"',
        "",
        f"  name        = {json.dumps(environment.name)}",
        *(f"  {v.name} = {json.dumps(v.default)}" for v in variables if v.name == "max_workers"),
        "}",
        "```",
        "",
        f"Terraform 1.11 or newer; hashicorp/aws {provider_version}. Version 5.100 was applied; 6.x was only",
        f"type-checked with the provider's bindings. The caller's provider must be of {environment.region}.",
        "",
        "## Inputs",
        "",
        "All have a default: the value in the YAML file.",
        "",
        "| name | type | default | |",
        "|---|---|---|---|",
        *(f"| `{v.name}` | `{v.type}` | `{json.dumps(v.default)}` | {_description(v)} |" for v in variables),
        "",
        "## Outputs",
        "",
        "| name | |",
        "|---|---|",
        *(f"| `{name}` | {output['description']} |" for name, output in sorted(outputs.items())),
        "",
        "## Fields that are not inputs",
        "",
        "A value is an input if it does not change the set of resources. All other fields are fixed when the module is",
        "written: edit the YAML file and write it again. A key, bucket, role or image is an input if the file sets it;",
        "otherwise the stack creates it.",
        "",
        "| field of the YAML file | reason |",
        "|---|---|",
        *(f"| {field} | {reason} |" for field, reason in _NOT_INPUTS.items()),
        "",
    ]
    return "\n".join(lines)


def _description(variable: Variable) -> str:
    validations = " ".join(validation.message for validation in variable.validations)
    return f"{variable.description} {validations}".strip().replace("|", "\\|")
