# SPDX-License-Identifier: Apache-2.0
"""A container as a process: in its own session, with its output read by line, and ended with all child processes."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from local_ecs.runtime.errors import StartError
from local_ecs.runtime.log_files import LineReader
from local_ecs.runtime.process_tree import Trace, find, kill_all

OUTPUT_AFTER_EXIT_S = 2.0
"""Maximum wait for the last lines after all processes have ended."""


class ContainerProcess:
    """A running program and its child processes.

    As in a container, all processes end with the main process: the remaining ones are killed.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, reader: LineReader, adopt: Path | None, marks: Mapping[str, str]
    ) -> None:
        self._process = process
        self._reader = reader
        self._trace = Trace(marks=marks, sessions=(process.pid,), roots=(process.pid,), home=adopt)

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        home: Path,
        marks: Mapping[str, str],
        on_lines: Callable[[Sequence[str]], None],
        adopt_orphans: bool = True,
        user: tuple[int, int] | None = None,
    ) -> "ContainerProcess":
        """Start a program with exactly this environment plus its marks, in the folder `home`.

        `marks` must be unique to this program: every process with all of them ends with it.
        `adopt_orphans`: orphaned processes with a working directory in `home` belong to this program.
        `user`: ids of the user and group, if this process runs as root.

        Raises:
            StartError: the program does not exist or cannot be executed.
        """
        read_end, write_end = os.pipe()
        # A separate pipe: with asyncio's pipe, wait() also waits for every process that inherited it (Python 3.11,
        # 3.12).
        reader = LineReader(on_lines)
        await asyncio.get_running_loop().connect_read_pipe(lambda: reader, os.fdopen(read_end, "rb", buffering=0))
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                # Without a reader, a write fails. A worker whose daemon was killed would fail every task that it logs.
                pass_fds=(read_end,),
                cwd=home,
                env={**environment, **marks},
                start_new_session=True,
                user=user[0] if user else None,
                group=user[1] if user else None,
                extra_groups=[] if user else None,
            )
        except (OSError, ValueError, IndexError) as error:
            program = argv[0] if argv else "(no command)"
            raise StartError(f"CannotStartContainerError: {program}: {error}") from error
        finally:
            os.close(write_end)
        return cls(process, reader, home if adopt_orphans else None, marks)

    @property
    def pid(self) -> int:
        """The pid of the main process, which is also the id of its session."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for the end and return the exit code; 128 + the number of the signal after a signal, as in Docker.

        Then no process of the container remains and its last line has been passed on.
        """
        code = await self._process.wait()
        await kill_all(self._after_exit())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OUTPUT_AFTER_EXIT_S):
                await self._reader.finished.wait()
        return 128 - code if code < 0 else code

    def terminate(self, with_signal: int = signal.SIGTERM) -> None:
        """Send SIGTERM (or another signal) to the main process only, as a container runtime does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(with_signal)

    async def kill(self) -> None:
        """Kill all processes. The children are listed first, because they are harder to find without parents."""
        for process in find(self._trace):
            with contextlib.suppress(psutil.Error):
                process.kill()
        await kill_all(self._after_exit())

    def _after_exit(self) -> Trace:
        # The pid can be reused, so it is no longer a root. A session's id is not reused while the session has members.
        return Trace(marks=self._trace.marks, sessions=(self.pid,), home=self._trace.home)
