# SPDX-License-Identifier: Apache-2.0
"""checkov over every example, held against the rows of tools/verify/checkov_skips.py.

It pins boto3 and brings 250 MB, so it runs out of a virtual environment of its own, built from its lock when needed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cdktf_app.main import document
from openmwaa.config.environment import Environment
from openmwaa.local.errors import InstallError
from openmwaa.local.install import venvs
from tools.verify.checkov_skips import SKIPS, Skip
from tools.verify.errors import ToolError
from tools.verify.report import ROOT, Checkov

FOLDER: Final = ROOT / "build" / "checkov"
STACK_FILE: Final = "main.tf.json"
BASELINE: Final = "checkov.baseline"
_WITHIN_S: Final = 600
_LOCAL: Final = re.compile(r"^\$\{jsonencode\(local\.(\w+)\)\}$")
_BLOCK: Final = re.compile(r'^( {1,3})"([^"]+)": \{')


def check(
    environments: Mapping[str, Environment], *, all_examples: bool, skips: Sequence[Skip] = SKIPS
) -> dict[str, Checkov]:
    """Return what checkov says of each environment.

    With all examples, a row that covers nothing is a finding of the first: it is to be removed.

    Raises:
        ToolError: checkov cannot be installed or does not end.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    used: set[Skip] = set()
    reports: dict[str, Checkov] = {}
    for name, environment in environments.items():
        folder = FOLDER / name
        folder.mkdir(parents=True)
        file = folder / STACK_FILE
        file.write_text(json.dumps(readable(document(environment)), indent=1) + "\n")
    for name, said in _findings(list(environments)).items():
        reports[name] = judge(said, addresses(FOLDER / name / STACK_FILE), skips, used)
        _write_baseline(said, FOLDER / name, skips)
    if all_examples and (unused := [skip for skip in skips if skip not in used]) and reports:
        first = next(iter(reports.values()))
        first.findings += [f"{skip.check} {skip.resource}: no finding needs this row any more" for skip in unused]
        first.failed += len(unused)
    return reports


def readable(stack: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stack as checkov can read it.

    Its reader of JSON ends at `required_version`, and its checks of policies and containers see no local values.
    """
    terraform = {name: value for name, value in stack["terraform"].items() if name != "required_version"}
    return {**stack, "terraform": terraform, "resource": _inlined(stack["resource"], stack["locals"])}


def _inlined(value: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _inlined(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_inlined(item, known) for item in value]
    if isinstance(value, str) and (found := _LOCAL.match(value)):
        return json.dumps(known[found[1]])
    return value


def addresses(file: Path) -> dict[int, str]:
    """Return the address of the resource or data source that every line of a stack is in.

    checkov calls a resource `resource.NAME`, without its type; the line tells which of that name it means.
    """
    found: dict[int, str] = {}
    path: list[str] = []
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if block := _BLOCK.match(line):
            path[len(block[1]) - 1 :] = [block[2]]
        if len(path) == 3:  # noqa: PLR2004 - block, type, name
            prefix = "data." if path[0] == "data" else ""
            found[number] = f"{prefix}{path[1]}.{path[2]}"
    return found


def judge(said: Mapping[str, Any], where: Mapping[int, str], skips: Sequence[Skip], used: set[Skip]) -> Checkov:
    """Count one stack's findings; `used` gets the rows that cover one."""
    report = Checkov(passed=said["summary"]["passed"])
    if said["summary"]["parsing_errors"]:
        raise ToolError("checkov cannot read a stack; run it by hand on build/checkov")
    for finding in said["results"]["failed_checks"]:
        address = where[finding["file_line_range"][0]]
        covering = [skip for skip in skips if skip.covers(finding["check_id"], address)]
        used.update(covering)
        if covering:
            report.skipped += 1
        else:
            report.failed += 1
            report.findings.append(f"{finding['check_id']} {address}: {finding['check_name']}")
    return report


def _write_baseline(said: Mapping[str, Any], folder: Path, skips: Sequence[Skip]) -> None:
    """Write checkov's own baseline out of the rows, for `checkov --baseline` on the stack beside it."""
    where = addresses(folder / STACK_FILE)
    skipped: dict[str, list[str]] = {}
    for finding in said["results"]["failed_checks"]:
        address = where[finding["file_line_range"][0]]
        if any(skip.covers(finding["check_id"], address) for skip in skips):
            skipped.setdefault(finding["resource"], []).append(finding["check_id"])
    findings = [{"resource": name, "check_ids": sorted(set(checks))} for name, checks in sorted(skipped.items())]
    baseline = {"failed_checks": [{"file": f"/{STACK_FILE}", "findings": findings}]}
    (folder / BASELINE).write_text(json.dumps(baseline, indent=1) + "\n")


def _findings(names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Run checkov once an example; its start of 4 s is most of it."""
    try:
        program = venvs.ensure(venvs.checkout_venv("checkov"), progress=print).with_name("checkov")
    except InstallError as error:
        raise ToolError(str(error)) from error
    return {name: _run(program, FOLDER / name) for name in names}


def _run(program: Path, folder: Path) -> Mapping[str, Any]:
    words = ("-f", STACK_FILE, "--framework", "terraform_json", "--compact", "--quiet", "--skip-download", "-o", "json")
    done = subprocess.run(
        (str(program), *words), cwd=folder, capture_output=True, text=True, timeout=_WITHIN_S, check=False
    )
    try:
        said: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise ToolError(f"checkov ended with {done.returncode}:\n{done.stdout}{done.stderr}") from error
    return said
