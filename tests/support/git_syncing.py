# SPDX-License-Identifier: Apache-2.0
"""A syncer of a git repository, and the folder that it writes."""

import json
from pathlib import Path

import pytest

from openmwaa_runtime.sync_dags.folder import VersionedFolder
from openmwaa_runtime.sync_dags.git_repository import GitRepository
from openmwaa_runtime.sync_dags.git_transport import GitError, GitServer
from openmwaa_runtime.sync_dags.main import Syncer
from openmwaa_runtime.sync_dags.report import failures_line
from tests.support.git_server import SshServer

LIMIT = 1 << 20


class Syncing:
    """A syncer of the repository's branch, and the folder that it writes."""

    def __init__(self, root: Path, server: GitServer, *, ref: str = "main", folder: str = "") -> None:
        self.root = root
        self.logged: list[str] = []
        self.now = 1_000.0
        self.server = server
        versions = VersionedFolder(root)
        versions.recover()
        self.source = GitRepository(server, ref, folder, root, most_bytes=LIMIT)
        self.syncer = Syncer(self.source, "", versions, log=self.logged.append)

    def sync(self, *, after_s: float = 9) -> bool:
        self.now += after_s
        return self.syncer.sync(self.now)

    def fails(self, error: type[Exception] = GitError) -> str:
        """The error of a sync, as the log has it."""
        with pytest.raises(error) as caught:
            self.sync()
        return failures_line("example", 1, caught.value, self.now)

    def files(self) -> dict[str, str]:
        current = self.root / "current"
        return {str(path.relative_to(current)): path.read_text() for path in current.rglob("*") if path.is_file()}

    def left_out(self) -> dict[str, str]:
        return {key: found.reason for key, found in self.syncer._left_out.items()}

    def events(self, name: str) -> list[str]:
        lines = [json.loads(line) for line in self.logged if line.startswith("{")]
        return [line["commit"] for line in lines if line.get("event") == name]

    def bytes_on_disk(self) -> int:
        # Hard links of the versions count once.
        found = {path.lstat().st_ino: path.lstat().st_blocks * 512 for path in self.root.rglob("*")}
        return sum(found.values())


def of_ssh(ssh: SshServer) -> GitServer:
    return GitServer(ssh.url, ssh.private_key, ssh.known_hosts)
