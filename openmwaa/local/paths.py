# SPDX-License-Identifier: Apache-2.0
"""The folders of an environment on this machine: one beside its YAML file, and one with a short path for sockets."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from openmwaa.local.errors import StateFolderError

FOLDER = ".openmwaa"


class LocalPaths:
    """The folders and files of one environment; `root` is `<folder of the YAML file>/.openmwaa/<NAME>`, absolute."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = root.name
        self.terraform = root / "terraform"  # configuration, override and state
        self.terraform_state = self.terraform / "terraform.tfstate"
        self.applied = root / "applied.json"  # the fingerprint of the last apply
        self.emulator = root / "emulator"  # the emulator's state
        self.postgres = root / "postgres"  # the data; a link if PostgreSQL's user has no access to this folder
        self.ecs_state = root / "ecs.json"
        self.load_balancers = root / "load-balancers.json"
        self.principals = root / "principals.json"  # access keys of the IAM users for the login
        self.aws_config = root / "aws-config"  # profiles of these users for MWAA's API
        self.tasks = root / "tasks"  # folders of running tasks
        self.dag_link = root / "dags"  # a link to the author's folder; without it, DAGs come from the bucket
        self.author = root / "author"  # a database of its own for `openmwaa dags test`
        self.task_journal = root / "task-journal.jsonl"  # of the demonstration
        self.logs = root / "logs"  # `SERVICE.log` for each service and part of the infrastructure
        self.packages = root / "packages"  # links to the packages of the images, for PYTHONPATH
        self.daemon = root / "daemon.json"  # its process id
        self.daemon_lock = root / "daemon.lock"
        self.daemon_log = self.logs / "daemon.log"
        self.daemon_error = root / "daemon.error"  # why a daemon could not start
        self.block = root / "block"  # the address block
        digest = hashlib.sha256(str(root).encode()).hexdigest()[:12]
        self.environment_id = f"{self.name}-{digest}"  # marks all processes of the environment
        self.runtime = runtime_folder() / digest  # private, for sockets; see `make_runtime`
        self.control_socket = self.runtime / "control.sock"

    @classmethod
    def of(cls, environment_file: Path, name: str) -> LocalPaths:
        """The paths of the environment `name` that `environment_file` describes."""
        return cls(environment_file.absolute().parent.resolve() / FOLDER / name)

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

    def record_file(self, environment_file: Path) -> None:
        """Record the environment's file, so that commands in every folder find it by its name."""
        link = self.runtime / f"{self.name}.yaml"
        link.unlink(missing_ok=True)
        link.symlink_to(environment_file.parent.resolve() / environment_file.name)

    @property
    def dag_folder(self) -> Path | None:
        """The author's folder, which may be gone; None: DAGs come from the bucket."""
        return self.dag_link.readlink() if self.dag_link.is_symlink() else None

    def link_dags(self, folder: Path | None) -> None:
        """Make syncers read DAGs from a folder, at once and after the next start; None: from the bucket."""
        if folder is None:
            self.dag_link.unlink(missing_ok=True)
            return
        draft = self.dag_link.with_name(".dags")
        draft.unlink(missing_ok=True)
        draft.symlink_to(folder.absolute())  # not resolved: the folder may be a link that changes
        draft.replace(self.dag_link)

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


def runtime_folder() -> Path:
    """A folder of all environments of this user, short enough for AF_UNIX, whose paths have at most 108 bytes."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.getuid() != 0 and Path(base).is_dir() and len(base) < 40:  # noqa: PLR2004 - 108 minus our part
        return Path(base) / "openmwaa"
    return Path(f"/tmp/openmwaa-{os.getuid()}")  # noqa: S108 - checked by make_runtime
