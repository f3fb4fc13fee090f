# SPDX-License-Identifier: Apache-2.0
"""Plans synthesised Terraform without an account, with `terraform test` and a mocked provider."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Document = Mapping[str, Any]


def mockable(document: Document) -> dict[str, Any]:
    """The document without ephemeral resources, which Terraform 1.11 cannot mock: their values are a fixed text."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    copy.pop("ephemeral")
    for version in copy["resource"]["aws_secretsmanager_secret_version"].values():
        version["secret_string_wo"] = "a fixed text"
    return copy


def terraform_test(folder: Path, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """Run `terraform test` in a folder and return its events, including plans."""
    program = shutil.which("terraform")
    assert program is not None
    for words in (("init", "-backend=false", "-input=false"), ("test", "-json", "-verbose")):
        done = subprocess.run(
            [program, *words],
            cwd=folder,
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        if words[0] == "init":
            assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def complaints(events: list[dict[str, Any]]) -> Iterator[str]:
    """The errors of Terraform."""
    for event in events:
        if event.get("@level") == "error":
            diagnostic = event.get("diagnostic", {})
            summary = diagnostic.get("summary", event["@message"])
            yield f"{summary}: {diagnostic.get('detail', '')} {diagnostic.get('address', '')}"


def planned(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The values of all planned resources, by address."""
    (plan,) = (event["test_plan"] for event in events if event["type"] == "test_plan")
    return {
        change["address"]: change["change"]["after"]
        for change in plan["resource_changes"]
        if change["mode"] == "managed"
    }
