# SPDX-License-Identifier: Apache-2.0
"""The state after an apply, made from plans: shows what the real provider would replace, without an apply.

An apply waits minutes for resources to become ready, and the provider's schema does not show which attributes an
existing resource cannot take. So the state is written here: the values of a plan, and a value of the right type for
each attribute that AWS computes. The next plan fills the references to those values; this repeats until a plan changes
nothing. After that, a plan of another environment shows what the provider would change, and what it would replace.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from tests.support.synthesis import stack_document
from tests.support.terraform import emulator_environment

Json = dict[str, Any]
WITHIN_S = 600
ROUNDS = 6
SOURCE = "registry.terraform.io/hashicorp/aws"
# What is no reference and yet decides: the provider compares it with a default of its own.
KNOWN: Mapping[tuple[str, str], Any] = {
    ("aws_lb_target_group", "protocol_version"): "HTTP1",
    ("aws_secretsmanager_secret_version", "has_secret_string_wo"): True,
}


class SettledTerraform:
    """A folder for Terraform, with a state in it that belongs to the environment last settled."""

    def __init__(self, folder: Path, aws_url: str) -> None:
        program = shutil.which("terraform")
        if program is None:
            pytest.skip("there is no terraform on PATH")
        self._program = program
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.environ = emulator_environment(folder, {"AWS_ENDPOINT_URL": aws_url})
        self._schemas: Json = {}
        self.resources: dict[str, Json] = {}
        """The state's resources by address: type, name, key of the instance, schema version, attributes."""
        self._outputs: Json = {}

    def settle(self, environment: Environment) -> None:
        """Write the state that an apply of `environment` would leave."""
        self._write(environment)
        self._run("init", "-input=false", "-no-color")
        self._schemas = json.loads(self._run("providers", "schema", "-json"))["provider_schemas"][SOURCE][
            "resource_schemas"
        ]
        self.resources, self._outputs = {}, {}
        self._write_state()
        unsettled: list[str] = []
        for _ in range(ROUNDS):
            planned = self._planned()
            changes = [resource for resource in planned["resource_changes"] if resource["mode"] == "managed"]
            unsettled = [resource["address"] for resource in changes if not _is_settled(resource["change"])]
            if not unsettled:
                self._outputs = planned["planned_values"]["outputs"]
                self._write_state()
                return
            for resource in changes:
                self._take(resource)
            self._write_state()
        raise AssertionError(f"after {ROUNDS} rounds a plan still changes {', '.join(unsettled)}")

    def plan(self, environment: Environment) -> Json:
        """Plan `environment` over the settled state; the state stays as it is."""
        self._write(environment)
        self._run("init", "-input=false", "-no-color")
        return self._planned()

    def _write(self, environment: Environment) -> Path:
        written = stack_document(environment)
        written["terraform"].pop("backend", None)  # the state is here
        written["resource"].pop("terraform_data")  # of Terraform itself: AWS has only this output of it
        written["locals"]["mwaa_environment"]["CreatedAt"] = "2026-12-01T10:20:30Z"
        file = self.folder / "cdk.tf.json"
        file.write_text(json.dumps(written), encoding="utf-8")
        return file

    def _planned(self) -> Json:
        self._run("plan", "-input=false", "-refresh=false", "-no-color", "-out=plan")
        planned: Json = json.loads(self._run("show", "-json", "plan"))
        return planned

    def _take(self, resource: Json) -> None:
        """Take the planned values of a resource."""
        address, change = resource["address"], resource["change"]
        schema = self._schemas[resource["type"]]
        before = self.resources.get(address, {}).get("attributes")
        made = _block(schema["block"], change["after"] or {}, change["after_unknown"], address, before)
        made |= {name: value for (kind, name), value in KNOWN.items() if kind == resource["type"]}
        self.resources[address] = {**resource, "schema_version": schema["version"], "attributes": made}

    def _write_state(self) -> None:
        written = [
            {
                "mode": "managed",
                "type": resource["type"],
                "name": resource["name"],
                "provider": f'provider["{SOURCE}"]',
                "instances": [
                    {
                        **({"index_key": resource["index"]} if "index" in resource else {}),
                        "schema_version": resource["schema_version"],
                        "attributes": resource["attributes"],
                    }
                ],
            }
            for resource in self.resources.values()
        ]
        state = {"version": 4, "terraform_version": "1.11.0", "serial": 1, "lineage": "settled"}
        state["outputs"] = self._outputs
        (self.folder / "terraform.tfstate").write_text(json.dumps({**state, "resources": written}), encoding="utf-8")

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [self._program, *words],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"terraform {words[0]} ended with {done.returncode}: {done.stderr[:1500]}"
        return done.stdout


def _is_settled(change: Json) -> bool:
    """Whether nothing known changes: an update of nothing is a write-only value, which no state holds."""
    if change["actions"] == ["no-op"]:
        return True
    return change["actions"] == ["update"] and _known(change["before"], change["after"])


def _known(before: Any, after: Any) -> bool:
    return all(before.get(key) == value for key, value in after.items())


def _block(block: Json, after: Json, unknown: Any, where: str, before: Json | None) -> Json:
    """What a resource, or a block of it, will be; what is unknown stays what it was, or is made up."""
    made: Json = {}
    for name, attribute in block.get("attributes", {}).items():
        was = (before or {}).get(name)
        kind = "choice" if _is_choice(name, attribute) else attribute["type"]
        made[name] = _value(kind, after.get(name), _of(unknown, name), f"{where}.{name}", was)
    for name, nested in block.get("block_types", {}).items():
        value, hidden, was = after.get(name), _of(unknown, name), (before or {}).get(name)
        if nested["nesting_mode"] == "single":
            made[name] = value and _block(nested["block"], value, hidden, f"{where}.{name}", was)
        elif hidden is True:
            made[name] = was or []
        else:
            made[name] = [
                _block(nested["block"], item, _of(hidden, index), f"{where}.{name}", _of(was, index) or None)
                for index, item in enumerate(value or [])
            ]
    return made


def _is_choice(name: str, attribute: Json) -> bool:
    """Whether AWS chooses one of several words by default: nothing refers to it, so no value is invented."""
    words = ("arn", "id", "ids", "name", "prefix", "identifier", "zone", "endpoint", "url")
    return (
        attribute["type"] == "string"
        and attribute.get("optional", False)
        and name.rsplit("_", maxsplit=1)[-1] not in words
    )


def _value(kind: Any, after: Any, unknown: Any, where: str, before: Any) -> Any:
    if not _any(unknown):
        return after
    if unknown is True or after is None or before is not None:
        return _made_up(kind, where) if before is None else before
    of = kind[1] if isinstance(kind, list) else kind
    if isinstance(after, list):
        return [_value(of, item, _of(unknown, index), where, None) for index, item in enumerate(after)]
    return {**after, **{name: _made_up(of, where) for name, hidden in unknown.items() if hidden is True}}


def _any(unknown: Any) -> bool:
    if isinstance(unknown, Mapping):
        return any(map(_any, unknown.values()))
    return any(map(_any, unknown)) if isinstance(unknown, list) else bool(unknown)


def _of(unknown: Any, at: str | int) -> Any:
    if isinstance(unknown, Mapping):
        return unknown.get(str(at), False)
    if isinstance(unknown, list):
        return unknown[at] if isinstance(at, int) and at < len(unknown) else False
    return unknown


def _made_up(kind: Any, where: str) -> Any:
    word = kind if isinstance(kind, str) else kind[0]
    name = where.removeprefix("aws_").replace(".", "-")
    match word:
        case "string" if where.endswith("zone_id"):
            return "Z0123456789ABCDEF"  # at most 32 characters
        case "string":
            return f"arn:aws:some:us-east-1:123456789012:{name}" if where.endswith("arn") else name
        case "choice":
            return ""
        case "number":
            return 1
        case "bool":
            return False
        case "map":
            return {}
        case "object":
            return {member: _made_up(of, f"{where}.{member}") for member, of in kind[1].items()}
        case _:
            return [_made_up(kind[1], where)] if isinstance(kind[1], list) else []
