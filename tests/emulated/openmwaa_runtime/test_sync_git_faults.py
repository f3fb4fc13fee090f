# SPDX-License-Identifier: Apache-2.0
"""DAGs from git: servers, keys and commits that the syncer must withstand, and what it prints."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko
import pytest

from openmwaa_runtime.sync_dags import git_repository
from openmwaa_runtime.sync_dags.git_transport import GitServer
from openmwaa_runtime.sync_dags.git_tree import CommitTree
from tests.support.git_server import TOKEN, HttpsServer, Repository, SshServer, ed25519
from tests.support.git_syncing import LIMIT, Syncing

pytestmark = pytest.mark.emulated


def test_github_gets_the_client_that_it_requires(syncing: Syncing, https: HttpsServer) -> None:
    syncing.sync()
    assert {client[:4] for client in https.clients} == {"git/"}


def test_a_certificate_that_is_not_trusted_is_tried_once_and_named(
    repository: Repository, certificate: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with HttpsServer(repository, certificate) as server:
        assert "certificate verify failed" in Syncing(tmp_path / "dags", GitServer(server.url, TOKEN)).fails()
    assert "Retrying" not in "".join(capfd.readouterr())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_commit_is_named_and_fetched_again(
    syncing: Syncing, repository: Repository, https: HttpsServer
) -> None:
    repository.push({"large.py": os.urandom(50_000).hex()})
    https.mode = "damaged"
    assert "BufferError" not in syncing.fails()  # which would hide the reason, or a SIGTERM
    gc.collect()  # dulwich leaves the file of the commit open
    https.mode = ""
    assert syncing.sync()


def _line(server: SshServer, key: Any) -> str:
    return f"[127.0.0.1]:{server.port} {key.get_name()} {key.get_base64()}"


KNOWN: dict[str, Callable[[SshServer, Any, Any], list[str]]] = {
    "one-of-two-types": lambda server, rsa, _: [_line(server, rsa)],
    "a-type-that-it-does-not-offer-first": lambda server, rsa, other: [_line(server, other), _line(server, rsa)],
    "an-old-key-first": lambda server, *_: [f"[127.0.0.1]:{server.port} {ed25519()[1]}", server.known_hosts],
    "an-old-key-last": lambda server, *_: [server.known_hosts, f"[127.0.0.1]:{server.port} {ed25519()[1]}"],
    "hashed": lambda server, rsa, _: [
        f"{paramiko.HostKeys.hash_host(f'[127.0.0.1]:{server.port}')} {rsa.get_name()} {rsa.get_base64()}"
    ],
}


@pytest.mark.parametrize("known", KNOWN.values(), ids=list(KNOWN))
def test_any_known_key_of_a_host_is_enough(
    ssh: SshServer, tmp_path: Path, known: Callable[[SshServer, Any, Any], list[str]]
) -> None:
    rsa = paramiko.RSAKey.generate(2048)
    ssh.host_keys.append(rsa)
    lines = known(ssh, rsa, paramiko.ECDSAKey.generate())
    assert Syncing(tmp_path / "dags", GitServer(ssh.url, ssh.private_key, "\n".join(lines))).sync()


def test_a_host_without_a_key_of_the_known_type_is_refused(ssh: SshServer, tmp_path: Path) -> None:
    known = _line(ssh, paramiko.ECDSAKey.generate())
    line = Syncing(tmp_path / "dags", GitServer(ssh.url, ssh.private_key, known)).fails()
    assert "offers no key of a type in `dags.known_hosts`" in line


def test_a_token_with_a_dash_of_a_word_processor_is_named(https: HttpsServer, tmp_path: Path) -> None:
    line = Syncing(tmp_path / "dags", GitServer(https.url, f"{TOKEN}\u2013")).fails()
    assert "is no token: it has a character that is not ASCII" in line


@pytest.mark.parametrize("what", ["HEAD:one.py", "HEAD^{tree}"], ids=["file", "folder"])
def test_a_tag_of_no_commit_is_refused(https: HttpsServer, repository: Repository, tmp_path: Path, what: str) -> None:
    repository.git("tag", "odd", repository.git("rev-parse", what))
    repository.git("push", "--quiet", "origin", "odd")
    assert "the tag odd marks a" in Syncing(tmp_path / "dags", GitServer(https.url, TOKEN), ref="odd").fails()


def _without_folder(repository: Repository) -> None:
    repository.git("rm", "--quiet", "-r", "sub")


def _with_a_large_file(repository: Repository) -> None:
    (repository.work / "model.bin").write_bytes(os.urandom(LIMIT + 1))


@pytest.mark.parametrize("change", [_without_folder, _with_a_large_file])
def test_a_commit_that_cannot_be_used_is_fetched_once(
    https: HttpsServer, repository: Repository, tmp_path: Path, change: Callable[[Repository], None]
) -> None:
    syncing = Syncing(tmp_path / "dags", GitServer(https.url, TOKEN), folder="sub")
    syncing.sync()
    change(repository)
    repository.push()
    first = syncing.fails()
    https.requests.clear()
    assert syncing.fails()[100:] == first[100:]
    assert https.requests == ["GET refs", "POST git-upload-pack"]  # the question for the branch
    (repository.work / "model.bin").unlink(missing_ok=True)
    repository.push({"sub/two.py": "again"})
    assert syncing.sync()
    assert syncing.files() == {"two.py": "again"}


def test_a_full_disk_is_named(syncing: Syncing, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.push({"large.py": os.urandom(50_000).hex()})
    with monkeypatch.context() as patch:
        patch.setattr(git_repository, "free_bytes", lambda _: 20_000)
        assert "the disk has no space for the newest commit" in syncing.fails()
    assert syncing.sync()


def test_a_file_system_that_has_no_more_links_gets_copies(
    syncing: Syncing, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(_source: object, target: Path) -> None:
        raise OSError(31, "Too many links", str(target))

    repository.push({f"p{number}/__init__.py": "" for number in range(3)})
    monkeypatch.setattr(os, "link", link)
    assert syncing.sync()
    repository.push({"one.py": "later"})
    assert syncing.sync()
    assert syncing.files()["one.py"] == "later"
    assert syncing.files()["p2/__init__.py"] == ""


def test_a_folder_of_links_is_read_once(
    syncing: Syncing, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, trees = CommitTree._read, list[Any]()

    def counted(self: CommitTree, tree: Any) -> Any:
        trees.append(tree)
        return read(self, tree)

    monkeypatch.setattr(CommitTree, "_read", counted)
    for number in range(200):
        repository.write({f"lib/m{number}.py": str(number)})
        (repository.work / f"m{number}.py").symlink_to(f"lib/m{number}.py")
    repository.push()
    syncing.sync()
    assert len(trees) < 10
    assert syncing.files()["m199.py"] == "199"


@pytest.mark.slow
def test_a_file_that_is_larger_than_the_memory_keeps_the_syncer_and_its_dags(
    ssh: SshServer, repository: Repository, tmp_path: Path
) -> None:
    with (repository.work / "zeros.bin").open("wb") as file:
        file.truncate(200 << 20)
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OPENMWAA_DAG_BUCKET": "unused",
        "OPENMWAA_DAG_FOLDER": str(tmp_path / "dags"),
        "OPENMWAA_DAG_SYNC_INTERVAL_S": "0.2",
        "OPENMWAA_DAG_GIT_URL": ssh.url,
        "OPENMWAA_DAG_GIT_REF": "main",
        "OPENMWAA_DAG_GIT_SECRET": ssh.private_key,
        "OPENMWAA_DAG_GIT_KNOWN_HOSTS": ssh.known_hosts,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "openmwaa_runtime", "sync-dags"]
    with subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as syncer:
        assert syncer.stdout
        try:
            _until(syncer.stdout, "dags_synced")
            repository.push()
            _until(syncer.stdout, "has a file that is too large")
            (repository.work / "zeros.bin").unlink()
            _until(syncer.stdout, repository.push({"one.py": "later"}))
        finally:
            syncer.terminate()
    assert (tmp_path / "dags/current/one.py").read_text() == "later"


def _until(lines: Any, text: str) -> None:
    for line in lines:
        if text in line:
            return
    raise AssertionError(f"the syncer ended without {text!r}")
