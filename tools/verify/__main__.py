# SPDX-License-Identifier: Apache-2.0
"""The command line of `make verify`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from tools.verify import report
from tools.verify.errors import VerifyError
from tools.verify.everything import Wishes, verify_all

INTERRUPTED = 130


def main(
    *,
    example: Annotated[list[str] | None, typer.Option(help="Only this example; may be said several times.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Use this endpoint, such as LocalStack's, for what it has.")
    ] = None,
    aws: Annotated[Literal["local", "real"], typer.Option(help="`real` applies in your account.")] = "local",
    jobs: Annotated[int, typer.Option(help="Examples at a time: what takes long is waiting.")] = 2,
    parallelism: Annotated[int, typer.Option(help="Terraform's own.")] = 30,
    static: Annotated[bool, typer.Option(help="Only what needs no AWS: synthesis and checkov.")] = False,
    page: Annotated[bool, typer.Option(help="Write docs/reference/verified.md.")] = False,
    yes: Annotated[bool, typer.Option(help="With --aws real: I know that it costs money.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print build/verify.json instead of lines.")] = False,
) -> None:
    """Apply every example, plan again, destroy, look for what is left, and check for findings."""
    signal.signal(signal.SIGTERM, _interrupt)
    wishes = Wishes(
        examples=tuple(example or ()),
        kind="real" if aws == "real" else "emulators",
        endpoint=endpoint,
        jobs=1 if aws == "real" else jobs,
        parallelism=parallelism,
        is_static=static,
        is_agreed=yes,
    )
    try:
        reports = verify_all(wishes, say=_say)
    except VerifyError as error:
        _say(str(error))
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        _say("interrupted; everything that was started has ended")
        raise typer.Exit(INTERRUPTED) from None
    report.write(reports, wishes.endpoint or wishes.kind)
    if page:
        report.PAGE.write_text(report.page(reports), encoding="utf-8")
    if json:
        sys.stdout.write(report.FILE.read_text(encoding="utf-8"))
    for one in reports:
        _say(f"{'ok  ' if one.ok else 'FAIL'} {one.name}: {one.verdict}")
    _say(f"written: {report.FILE.relative_to(Path.cwd()) if report.FILE.is_relative_to(Path.cwd()) else report.FILE}")
    raise typer.Exit(0 if all(one.ok for one in reports) else 1)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(main)
