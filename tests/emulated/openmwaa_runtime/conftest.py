# SPDX-License-Identifier: Apache-2.0
"""A git repository and its servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from openmwaa_runtime.sync_dags.git_transport import GitServer
from tests.support.certificates import certificate_for_localhost
from tests.support.git_server import TOKEN, HttpsServer, Repository, SshServer, trusted
from tests.support.git_syncing import Syncing


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path / "git")
    repository.push({"one.py": "1", "sub/two.py": "2", "README.md": "x"})
    return repository


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate_for_localhost(tmp_path_factory.mktemp("tls") / "certificate")


@pytest.fixture
def https(repository: Repository, certificate: Path) -> Iterator[HttpsServer]:
    with HttpsServer(repository, certificate) as server, trusted(certificate):
        yield server


@pytest.fixture
def ssh(repository: Repository) -> Iterator[SshServer]:
    with SshServer(repository) as server:
        yield server


@pytest.fixture
def syncing(https: HttpsServer, tmp_path: Path) -> Syncing:
    return Syncing(tmp_path / "dags", GitServer(https.url, TOKEN))
