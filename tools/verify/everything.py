# SPDX-License-Identifier: Apache-2.0
"""All examples: each applied by a process of its own, some at a time; then checkov over all of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from openmwaa.config.environment_file import load
from openmwaa.local.terraform import provider_mirror
from tests.support.terraform import terraform_mirror
from tools.verify import checkov, prices
from tools.verify.errors import RefusedError, VerifyError
from tools.verify.report import ROOT, ExampleReport, write

Say = Callable[[str], None]
EXAMPLES: Final = ROOT / "examples"
FOLDER: Final = ROOT / "build" / "verify"
_EMULATORS_END_WITHIN_S: Final = 60.0


@dataclass(frozen=True)
class Wishes:
    """What the person asked for."""

    examples: tuple[str, ...] = ()
    kind: Literal["emulators", "real"] = "emulators"
    endpoint: str | None = None
    jobs: int = 2
    parallelism: int = 30
    is_static: bool = False
    is_agreed: bool = False


def verify_all(wishes: Wishes, *, say: Say) -> list[ExampleReport]:
    """Verify the examples asked for and return a report of each.

    Raises:
        VerifyError: an example is not there, a tool does not start, or the person said no.
        KeyboardInterrupt: after every process that was started has ended.
    """
    files = example_files(wishes.examples)
    if wishes.kind == "real" and not wishes.is_agreed:
        _ask(files)
    bare = [ExampleReport(file.parent.name) for file in files]
    reports = bare if wishes.is_static else _applied(files, wishes, say)
    write(reports, wishes.endpoint or wishes.kind)  # what was seen is kept, whatever comes next
    say("checkov")
    checked = checkov.check({file.parent.name: load(file) for file in files}, all_examples=not wishes.examples)
    for report in reports:
        report.checkov = checked[report.name]
    return reports


def example_files(names: Sequence[str] = ()) -> list[Path]:
    """Return the files of the examples of these names, or of all.

    Raises:
        VerifyError: there is none of a name.
    """
    found = {file.parent.name: file for file in sorted(EXAMPLES.glob("*/environment*.yaml"))}
    if unknown := sorted(set(names) - set(found)):
        raise VerifyError(f"There is no example {unknown[0]}; there are {', '.join(found)}.")
    return [file for name, file in found.items() if not names or name in names]


def _ask(files: Sequence[Path]) -> None:
    hourly = {file.parent.name: prices.usd_an_hour(load(file)) for file in files}
    sys.stderr.write(
        f"This applies {', '.join(hourly)} in the account that your AWS credentials lead to, one after the other, and "
        f"destroys each.\nAn hour costs about {max(hourly.values()):.2f} USD while one stands (us-east-1's prices, "
        "without traffic); an example takes 20 to 40 minutes.\nType the word `costs` to go on: "
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip() != "costs":
        raise RefusedError("Nothing was applied.")


def _applied(files: Sequence[Path], wishes: Wishes, say: Say) -> list[ExampleReport]:
    running: set[subprocess.Popen[bytes]] = set()
    stopped = threading.Event()
    with tempfile.TemporaryDirectory(prefix="openmwaa-verify-") as scratch, ThreadPoolExecutor(wishes.jobs) as pool:
        variables = _with_provider(Path(scratch), say)

        def one(file: Path) -> ExampleReport:
            report = Path(scratch) / f"{file.parent.name}.json"
            last = "" if stopped.is_set() else _child(file, report, wishes, variables, running, say)
            if not report.exists():
                return ExampleReport(file.parent.name, error=f"its process ended without a report: {last}")
            seen = ExampleReport.read(json.loads(report.read_text()))
            say(f"{seen.name}: {seen.verdict}")
            return seen

        try:
            return list(pool.map(one, files))
        except BaseException:
            stopped.set()
            for process in list(running):
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
            # An account has to be emptied however long that takes; emulators just end.
            for process in list(running):
                try:
                    process.wait(None if wishes.kind == "real" else _EMULATORS_END_WITHIN_S)
                except subprocess.TimeoutExpired:
                    process.kill()
            raise


def _child(
    file: Path,
    report: Path,
    wishes: Wishes,
    variables: dict[str, str],
    running: set[subprocess.Popen[bytes]],
    say: Say,
) -> str:
    """Run the process of one example and return the last line that it said."""
    settings = {
        "file": str(file),
        "report": str(report),
        "folder": str(FOLDER),
        "kind": wishes.kind,
        "endpoint": wishes.endpoint,
        "parallelism": wishes.parallelism,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.verify.one", json.dumps(settings)],
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches us alone, and we tell each once
    )
    running.add(process)
    line = ""
    with process:
        for line in _lines(process):
            say(f"{file.parent.name}: {line}")
    running.discard(process)
    return line


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    assert process.stdout is not None  # noqa: S101 - PIPE above
    for line in process.stdout:
        yield line.decode("utf-8", "replace").rstrip()


def _with_provider(folder: Path, say: Say) -> dict[str, str]:
    """Return the variables of children: the provider is looked for once, not by each."""
    mirror = terraform_mirror()
    if mirror is None:
        say("Terraform's AWS provider comes from the registry, once an example")
        return dict(os.environ)
    return {**os.environ, provider_mirror.VARIABLE: str(mirror)}
