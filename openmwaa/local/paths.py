# SPDX-License-Identifier: Apache-2.0
"""The folders of an environment on this machine: one beside its YAML file, and one with a short path for sockets."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from openmwaa.local.errors import StateFolderError

FOLDER = ".openmwaa"


@dataclass(frozen=True)
class LocalPaths:
    """The folders and files of one environment."""

    root: Path
    """`<folder of the YAML file>/.openmwaa/<NAME>`, absolute."""

    @classmethod
    def of(cls, environment_file: Path, name: str) -> LocalPaths:
        """The paths of the environment `name` that `environment_file` describes."""
        return cls(environment_file.absolute().parent.resolve() / FOLDER / name)

    @property
    def name(self) -> str:
        """The environment's name."""
        return self.root.name

    @cached_property
    def digest(self) -> str:
        """A hash of the folder, twelve hexadecimal digits."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:12]

    @property
    def environment_id(self) -> str:
        """The value of the marker variable in all processes of the environment."""
        return f"{self.name}-{self.digest}"

    @property
    def terraform(self) -> Path:
        """Terraform's folder: configuration, override and state."""
        return self.root / "terraform"

    @property
    def emulator(self) -> Path:
        """The emulator's state."""
        return self.root / "emulator"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data; a link if PostgreSQL's user has no access to this folder."""
        return self.root / "postgres"

    @property
    def ecs_state(self) -> Path:
        """The state of the local ECS."""
        return self.root / "ecs.json"

    @property
    def tasks(self) -> Path:
        """Folders of running tasks."""
        return self.root / "tasks"

    @property
    def logs(self) -> Path:
        """`SERVICE.log` for each service and part of the infrastructure."""
        return self.root / "logs"

    @property
    def packages(self) -> Path:
        """Links to the packages of the images, for PYTHONPATH."""
        return self.root / "packages"

    @property
    def daemon(self) -> Path:
        """The daemon's process id and start time."""
        return self.root / "daemon.json"

    @property
    def daemon_error(self) -> Path:
        """The error of a daemon that could not start."""
        return self.root / "daemon.error"

    @property
    def block(self) -> Path:
        """The address block of the environment."""
        return self.root / "block"

    @property
    def applied(self) -> Path:
        """The fingerprint of the last apply."""
        return self.root / "applied.json"

    @cached_property
    def runtime(self) -> Path:
        """A private folder for sockets, short enough for AF_UNIX (108 bytes); see `make_runtime`."""
        base = os.environ.get("XDG_RUNTIME_DIR")
        if base and os.getuid() != 0 and Path(base).is_dir() and len(base) < 40:  # noqa: PLR2004 - 108 minus our part
            return Path(base) / "openmwaa" / self.digest
        return Path(f"/tmp/openmwaa-{os.getuid()}") / self.digest  # noqa: S108 - checked by make_runtime

    @property
    def control_socket(self) -> Path:
        """The daemon's control socket."""
        return self.runtime / "control.sock"

    def make(self) -> None:
        """Create the folders, with a `.gitignore` in `.openmwaa`.

        Raises:
            StateFolderError: a folder cannot be created or belongs to another user.
        """
        try:
            for folder in (self.root, self.terraform, self.emulator, self.tasks, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            ignore = self.root.parent / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise StateFolderError(
                f"The state folder {self.root} cannot be created: {error.strerror or error}. Make its parent "
                "writable, or copy the environment file to a writable folder."
            ) from error
        self.make_runtime()

    def make_runtime(self) -> None:
        """Create the folder for sockets; other users (PostgreSQL's) can enter it, but cannot list or write it."""
        for folder, mode in ((self.runtime.parent, 0o711), (self.runtime, 0o711)):
            try:
                folder.mkdir(mode=mode, parents=True, exist_ok=True)
                status = folder.lstat()
            except OSError as error:
                raise StateFolderError(f"The folder for sockets {folder} cannot be created: {error}.") from error
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                raise StateFolderError(f"{folder} belongs to another user; remove it and run the command again.")
            folder.chmod(mode)
