# SPDX-License-Identifier: Apache-2.0
"""Runs checkov on every example. The rows of `checkov_skips` accept findings, each with a reason.

checkov pins boto3 and has 250 MB, so it has a virtual environment of its own, installed from its lock when needed.
"""

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
    """Return the result of checkov for each environment.

    With all examples, a row that accepts no finding is itself a finding of the first example: remove the row.

    Raises:
        ToolError: checkov cannot be installed, or fails.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    used: set[Skip] = set()
    reports: dict[str, Checkov] = {}
    for name, environment in environments.items():
        folder = FOLDER / name
        folder.mkdir(parents=True)
        file = folder / STACK_FILE
        file.write_text(json.dumps(readable(document(environment)), indent=1) + "\n")
    for name, result in _results(list(environments)).items():
        reports[name] = judge(result, addresses(FOLDER / name / STACK_FILE), skips, used)
        _write_baseline(result, FOLDER / name, skips)
    if all_examples and (unused := [skip for skip in skips if skip not in used]) and reports:
        first = next(iter(reports.values()))
        first.findings += [f"{skip.check} {skip.resource}: no finding needs this row" for skip in unused]
        first.failed += len(unused)
    return reports


def readable(stack: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stack that checkov can read.

    Its JSON parser fails at `required_version`, and its checks of policies and containers do not resolve local values.
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
    """Return the address of the resource or data source by line of a stack.

    checkov names a resource `resource.NAME`, without its type; the line identifies it.
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


def judge(result: Mapping[str, Any], address_of: Mapping[int, str], skips: Sequence[Skip], used: set[Skip]) -> Checkov:
    """Count the findings of one stack; add to `used` each row that accepts one."""
    report = Checkov(passed=result["summary"]["passed"])
    if result["summary"]["parsing_errors"]:
        raise ToolError("checkov cannot read a stack; run it on build/checkov to see why")
    for finding in result["results"]["failed_checks"]:
        address = address_of[finding["file_line_range"][0]]
        covering = [skip for skip in skips if skip.covers(finding["check_id"], address)]
        used.update(covering)
        if covering:
            report.skipped += 1
        else:
            report.failed += 1
            report.findings.append(f"{finding['check_id']} {address}: {finding['check_name']}")
    return report


def _write_baseline(result: Mapping[str, Any], folder: Path, skips: Sequence[Skip]) -> None:
    """Write a baseline file of checkov from the rows, for `checkov --baseline` on the same stack."""
    address_of = addresses(folder / STACK_FILE)
    skipped: dict[str, list[str]] = {}
    for finding in result["results"]["failed_checks"]:
        address = address_of[finding["file_line_range"][0]]
        if any(skip.covers(finding["check_id"], address) for skip in skips):
            skipped.setdefault(finding["resource"], []).append(finding["check_id"])
    findings = [{"resource": name, "check_ids": sorted(set(checks))} for name, checks in sorted(skipped.items())]
    baseline = {"failed_checks": [{"file": f"/{STACK_FILE}", "findings": findings}]}
    (folder / BASELINE).write_text(json.dumps(baseline, indent=1) + "\n")


def _results(names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Run checkov once for each example; most of its time is its start of 4 s."""
    try:
        program = venvs.ensure(venvs.venv_of("checkov"), progress=print).with_name("checkov")
    except InstallError as error:
        raise ToolError(str(error)) from error
    return {name: _run(program, FOLDER / name) for name in names}


def _run(program: Path, folder: Path) -> Mapping[str, Any]:
    options = (
        "-f",
        STACK_FILE,
        "--framework",
        "terraform_json",
        "--compact",
        "--quiet",
        "--skip-download",
        "-o",
        "json",
    )
    done = subprocess.run(
        (str(program), *options), cwd=folder, capture_output=True, text=True, timeout=_WITHIN_S, check=False
    )
    try:
        result: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise ToolError(f"checkov ended with {done.returncode}:\n{done.stdout}{done.stderr}") from error
    return result
