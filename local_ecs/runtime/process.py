# SPDX-License-Identifier: Apache-2.0
"""One container as a process: in its own session, its output read line by line, ended with all its offspring."""

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
"""How long the last lines may take once every process is gone."""


class ContainerProcess:
    """A running program with all it starts.

    As in a container, the end of the main process is the end of all: whatever it left behind is killed.
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

        `marks` must belong to this program alone: whoever carries all of them ends with it.
        `adopt_orphans`: whoever works in `home` and has lost its parent belongs to this program.
        `user`: number of the user and group to become, for whom runs as root.

        Raises:
            StartError: the program is not there or may not be run.
        """
        read_end, write_end = os.pipe()
        # Our own pipe: with asyncio's, wait() would also wait for every process that inherited it (Python 3.11, 3.12).
        reader = LineReader(on_lines)
        await asyncio.get_running_loop().connect_read_pipe(lambda: reader, os.fdopen(read_end, "rb", buffering=0))
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
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
        """Of the main process; also the number of its session."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for the end; 128 + the signal's number when a signal ended it, as Docker says it.

        When this returns no process of the container is left and its last line was handed over.
        """
        code = await self._process.wait()
        await kill_all(self._after_exit())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OUTPUT_AFTER_EXIT_S):
                await self._reader.finished.wait()
        return 128 - code if code < 0 else code

    def terminate(self, with_signal: int = signal.SIGTERM) -> None:
        """SIGTERM (or another signal) to the main process alone, as a container runtime does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(with_signal)

    async def kill(self) -> None:
        """SIGKILL everything. The offspring is listed first: once its parents are gone it is harder to find."""
        for process in find(self._trace):
            with contextlib.suppress(psutil.Error):
                process.kill()
        await kill_all(self._after_exit())

    def _after_exit(self) -> Trace:
        # The pid is reaped and may be given anew: no longer a root. A session's number is not, while it has members.
        return Trace(marks=self._trace.marks, sessions=(self.pid,), home=self._trace.home)
