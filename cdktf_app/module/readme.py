# SPDX-License-Identifier: Apache-2.0
"""The module's README: how it is called, its inputs and outputs, and what is no input and why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cdktf_app.module.variables import Variable
from openmwaa.config.environment import Environment

_DECIDED: Final[Mapping[str, str]] = {
    "region": "policies, endpoints and host names name it; the module refuses a provider of another",
    "airflow_version, architecture": "the image and its settings are made for them",
    "fleets, their queues, sizes and schedules": "each is resources of its own, and Terraform would have to count them",
    "network": "how many subnets, routes, gateways and endpoints there are",
    "webserver_access_mode, web_access": "whether there is a second load balancer, a certificate, CloudFront",
    "metadata_database, broker": "which of AWS's services they are",
    "identity, monitoring": "which policies, alarms and subscriptions there are",
    "sizes, scaler": "the file's; the class is a variable",
    "terraform_state": "a module has no state of its own: its caller has",
}


def readme(
    environment: Environment, variables: Sequence[Variable], outputs: Mapping[str, Any], provider_version: str
) -> str:
    """Return the README."""
    lines = [
        f"# {environment.name}: an Airflow environment as a Terraform module",
        "",
        f"Written by `openmwaa synth --module` from the environment `{environment.name}`: change its file, not this.",
        "It is the stack that `openmwaa synth` writes, without provider and backend, and with variables.",
        "",
        "```hcl",
        'module "airflow" {',
        '  source = "./module"',
        "",
        f"  name        = {json.dumps(environment.name)}",
        *(f"  {one.name} = {json.dumps(one.default)}" for one in variables if one.name == "max_workers"),
        "}",
        "```",
        "",
        f"Terraform 1.11 or newer; hashicorp/aws {provider_version}. 5.100 is what was applied; 6.x was type-checked",
        f"against the provider's bindings, and not applied. The caller's provider is of {environment.region}.",
        "",
        "## Inputs",
        "",
        "All have a default: what the YAML file says.",
        "",
        "| name | type | default | |",
        "|---|---|---|---|",
        *(f"| `{one.name}` | `{one.type}` | `{json.dumps(one.default)}` | {_told(one)} |" for one in variables),
        "",
        "## Outputs",
        "",
        "| name | |",
        "|---|---|",
        *(f"| `{name}` | {one['description']} |" for name, one in sorted(outputs.items())),
        "",
        "## What is no input",
        "",
        "A value is an input where the stack looks the same whatever it is. The rest is decided when the module is",
        "written: change the YAML file and write it again. A key, bucket, role or image that the file leaves out is",
        "the stack's own; one that it gives is an input.",
        "",
        "| field of the YAML file | why |",
        "|---|---|",
        *(f"| {field} | {why} |" for field, why in _DECIDED.items()),
        "",
    ]
    return "\n".join(lines)


def _told(variable: Variable) -> str:
    refusals = " ".join(one.message for one in variable.validations)
    return f"{variable.description} {refusals}".strip().replace("|", "\\|")
