# SPDX-License-Identifier: Apache-2.0
"""The command line in the process of the test: the start of a process costs a second of CPU."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock


def openmwaa(*words: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `openmwaa` in a folder with these environment variables alone; return its exit code and output.

    It runs in a thread, because a test may have an event loop of its own. Do not call it from two threads.
    A test's own time limit ends a command that hangs.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_run, words, folder, environment).result()


def _run(words: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    from openmwaa.cli import main

    output, errors = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "argv", ["openmwaa", *words]),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert code is None or isinstance(code, int), f"the command ended with a text: {code}"
    return subprocess.CompletedProcess(words, code or 0, output.getvalue(), errors.getvalue())
