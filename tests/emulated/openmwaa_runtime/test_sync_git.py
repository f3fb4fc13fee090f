# SPDX-License-Identifier: Apache-2.0
"""DAGs from git: a real repository, served by git over HTTPS and SSH, and the folder that Airflow reads."""

import dataclasses
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from openmwaa_runtime.sync_dags import git_repository, git_transport, git_tree
from openmwaa_runtime.sync_dags.git_transport import GitServer
from tests.support.git_server import TOKEN, HttpsServer, Repository, SshServer, ed25519
from tests.support.git_syncing import LIMIT, Syncing, of_ssh

pytestmark = pytest.mark.emulated


def test_a_push_arrives_complete_and_a_branch_that_did_not_move_costs_one_question(
    syncing: Syncing, repository: Repository, https: HttpsServer
) -> None:
    first = repository.git("rev-parse", "HEAD")
    assert syncing.sync()
    assert syncing.files() == {"one.py": "1", "sub/two.py": "2", "README.md": "x"}
    assert https.users
    https.requests.clear()
    assert not syncing.sync()
    assert https.requests == ["GET refs", "POST git-upload-pack"]  # the second protocol returns one reference

    (repository.work / "sub/two.py").unlink()
    second = repository.push({"one.py": "3", "new.py": "new"})
    unchanged = (syncing.root / "current/README.md").stat().st_ino
    assert syncing.sync()
    assert syncing.files() == {"one.py": "3", "new.py": "new", "README.md": "x"}
    assert (syncing.root / "current/README.md").stat().st_ino == unchanged
    assert syncing.events("dags_synced") == [first, second]


def test_the_log_has_the_commit_once_a_minute_also_of_a_commit_without_a_change_of_files(
    syncing: Syncing, repository: Repository
) -> None:
    first = repository.git("rev-parse", "HEAD")
    syncing.sync()
    syncing.sync()
    assert syncing.events("dags_current") == [first]
    syncing.sync(after_s=60)
    assert syncing.events("dags_current") == [first, first]
    second = repository.push()
    assert not syncing.sync()
    assert syncing.events("dags_current") == [first, first, second]


def test_a_force_push_replaces_the_files(syncing: Syncing, repository: Repository) -> None:
    syncing.sync()
    repository.git("checkout", "--quiet", "--orphan", "other")
    repository.git("rm", "--quiet", "-rf", ".")
    repository.push({"other.py": "o"}, "--force")
    assert syncing.sync()
    assert syncing.files() == {"other.py": "o"}


def test_a_tag_with_a_note_and_a_subfolder(https: HttpsServer, repository: Repository, tmp_path: Path) -> None:
    repository.git("tag", "--annotate", "--message", "release", "v1")
    repository.git("push", "--quiet", "origin", "v1")
    tagged = repository.git("rev-parse", "HEAD")
    repository.push({"sub/two.py": "later"})
    syncing = Syncing(tmp_path / "dags", GitServer(https.url, TOKEN), ref="v1", folder="sub")
    syncing.sync()
    assert syncing.files() == {"two.py": "2"}
    assert syncing.source.commit == tagged


@pytest.mark.parametrize(
    ("ref", "folder", "reason"),
    [("gone", "", "no branch or tag gone in /org/dags.git"), ("main", "gone", "no folder gone"),
     ("main", "one.py", "one.py is no folder")],
)  # fmt: skip
def test_a_branch_or_folder_that_does_not_exist_is_named(
    https: HttpsServer, tmp_path: Path, ref: str, folder: str, reason: str
) -> None:
    syncing = Syncing(tmp_path / "dags", GitServer(https.url, TOKEN), ref=ref, folder=folder)
    assert reason in syncing.fails()


def test_a_branch_that_is_deleted_keeps_the_dags(syncing: Syncing, repository: Repository) -> None:
    syncing.sync()
    repository.git("push", "--quiet", "origin", "HEAD:refs/heads/other")
    repository.git("symbolic-ref", "HEAD", "refs/heads/other", cwd=repository.bare)
    repository.git("push", "--quiet", "origin", "--delete", "main")
    assert "no branch or tag main" in syncing.fails()
    assert "one.py" in syncing.files()


def test_links_inside_the_repository_are_followed_and_others_are_left_out(
    https: HttpsServer, repository: Repository, tmp_path: Path
) -> None:
    work = repository.work
    repository.write({"lib/common.py": "c", "dags/dag.py": "d", "dags/deep/x.py": "x"})
    for link, target in {
        "dags/common.py": "../lib/common.py",
        "dags/lib": "../lib",
        "dags/twice.py": "lib/common.py",
        "dags/deep/up": "..",
        "dags/escape.py": "../../etc/passwd",
        "dags/absolute.py": "/etc/passwd",
        "dags/broken.py": "nothing",
        "dags/circle.py": "circle.py",
    }.items():
        (work / link).symlink_to(target)
    repository.git("init", "--quiet", str(work / "dags/module"))
    repository.git("-C", str(work / "dags/module"), "commit", "--quiet", "--allow-empty", "--message", "m")
    repository.push()
    syncing = Syncing(tmp_path / "dags", GitServer(https.url, TOKEN), folder="dags")
    syncing.sync()
    assert syncing.files() == {
        "common.py": "c",
        "lib/common.py": "c",
        "twice.py": "c",
        "dag.py": "d",
        "deep/x.py": "x",
    }
    assert not [path for path in (syncing.root / "current").resolve().rglob("*") if path.is_symlink()]
    leaves = "a symbolic link that leaves the repository"
    assert syncing.left_out() == {
        "escape.py": leaves,
        "absolute.py": leaves,
        "broken.py": "a broken symbolic link",
        "circle.py": "a symbolic link without an end",
        "module": "a submodule, which is another repository",
    }


def test_a_tree_with_a_name_that_leaves_the_folder_writes_nothing_outside(
    syncing: Syncing, repository: Repository
) -> None:
    from dulwich.objects import Blob, Commit, Tree
    from dulwich.repo import Repo

    inner, outer, blob = Tree(), Tree(), Blob.from_string(b"evil")
    inner.add(b"evil.py", 0o100644, blob.id)
    outer.add(b"..", 0o040000, inner.id)
    outer.add(b"good.py", 0o100644, blob.id)
    outer.add(b"\xff.py", 0o100644, blob.id)
    commit = Commit()
    commit.tree = outer.id
    commit.author = commit.committer = b"a <a@example.com>"
    commit.author_time = commit.commit_time = commit.author_timezone = commit.commit_timezone = 0
    commit.message = b"evil"
    with Repo(str(repository.bare)) as bare:
        for found in (blob, inner, outer, commit):
            bare.object_store.add_object(found)
        bare.refs[b"refs/heads/main"] = commit.id  # type: ignore[index]
    syncing.sync()
    assert syncing.files() == {"good.py": "evil"}
    assert set(syncing.left_out()) == {"../evil.py", "\udcff.py"}
    assert not list(syncing.root.parent.rglob("evil.py"))


def test_a_links_folder_that_multiplies_files_is_refused(
    https: HttpsServer, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_tree, "MOST_ENTRIES", 1_000)
    for level in range(8):
        repository.write({f"l{level}/x.py": str(level)})
        for number in range(8):
            (repository.work / f"l{level}/{number}").symlink_to(f"../l{level + 1}")
    repository.write({"l8/x.py": "8"})
    repository.push()
    syncing = Syncing(tmp_path / "dags", GitServer(https.url, TOKEN), folder="l0")
    assert "more than 1000 files and folders" in syncing.fails()


def test_a_large_commit_is_refused_and_the_dags_stay(syncing: Syncing, repository: Repository) -> None:
    syncing.sync()
    (repository.work / "model.bin").write_bytes(os.urandom(LIMIT + 1))
    repository.push()
    assert "larger than 1 MiB" in syncing.fails()
    assert set(syncing.files()) == {"one.py", "sub/two.py", "README.md"}
    (repository.work / "model.bin").unlink()
    repository.push({"one.py": "small"})
    assert syncing.sync()
    assert syncing.files()["one.py"] == "small"


@pytest.mark.parametrize("commits", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_the_disk_is_bounded(syncing: Syncing, repository: Repository, commits: int) -> None:
    content = os.urandom(200_000).hex()
    repository.push({"large.py": content, "many.py": "0"})
    syncing.sync()
    first = syncing.bytes_on_disk()
    for number in range(1, commits + 1):
        repository.push({"many.py": str(number)})
        assert syncing.sync()
    # A version has a folder, a manifest and a small file of its own; the large file is there once.
    assert syncing.bytes_on_disk() < first + commits * 5 * 4096
    assert len(list(syncing.root.glob("building-*"))) == 1


@pytest.mark.parametrize("how", ["away", "silent", "page", "redirect"])
def test_a_server_that_fails_keeps_the_dags_and_one_that_comes_back_gives_new_ones(
    syncing: Syncing, repository: Repository, https: HttpsServer, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncing.sync()
    repository.push({"one.py": "later"})
    with socket.socket() as closed, monkeypatch.context() as patch:
        closed.bind(("127.0.0.1", 0))
        if how == "away":
            away = f"https://127.0.0.1:{closed.getsockname()[1]}/org/dags.git"
            patch.setattr(syncing.source, "_server", dataclasses.replace(syncing.server, url=away))
        if how == "silent":
            patch.setattr(git_repository, "ASK_S", 0.3)
        https.mode = {"redirect": "https://localhost:1"}.get(how, how) if how != "away" else ""
        line = syncing.fails()
    assert {"away": "Connection refused", "silent": "took longer than 0.3 s", "page": "not answer as a git server",
            "redirect": "127.0.0.1"}[how] in line  # fmt: skip
    assert syncing.files()["one.py"] == "1"
    https.mode = ""
    assert syncing.sync()
    assert syncing.files()["one.py"] == "later"


def test_a_redirect_to_another_server_gets_no_token(
    https: HttpsServer, repository: Repository, certificate: Path, tmp_path: Path
) -> None:
    with HttpsServer(repository, certificate) as other:
        https.mode = f"https://{other.address}"
        other.mode = "page"
        assert "redirects to" in Syncing(tmp_path / "dags", GitServer(https.url, TOKEN)).fails()
        assert other.users == []


@pytest.mark.parametrize("token", ["wrong-token-0123", None])
def test_a_token_that_is_refused_is_named_and_never_printed(
    https: HttpsServer, tmp_path: Path, token: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    syncing = Syncing(tmp_path / "dags", GitServer(https.url, token))
    line = syncing.fails()
    assert ("refuses the token" if token else "set `dags.secret_arn`") in line
    printed = "".join([line, *syncing.logged, *capfd.readouterr(), repr(syncing.server)])
    assert not token or token not in printed


def test_an_error_with_the_token_in_it_is_printed_without(https: HttpsServer) -> None:
    error = ValueError(f"unknown answer: {TOKEN}")
    assert GitServer(https.url, TOKEN).reason(error) == "127.0.0.1: ValueError: unknown answer: ***"


def test_ssh_with_the_right_key_and_the_right_host_key(ssh: SshServer, repository: Repository, tmp_path: Path) -> None:
    syncing = Syncing(tmp_path / "dags", of_ssh(ssh))
    syncing.sync()
    assert not syncing.sync()
    repository.push({"one.py": "3"})
    assert syncing.sync()
    assert syncing.files()["one.py"] == "3"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: {"secret": ed25519()[0]}, "refuses the key"),
        (lambda _: {"secret": "no key"}, "is no private key"),
        (lambda _: {"known_hosts": ""}, "has no key of [127.0.0.1]"),
        (lambda ssh: {"known_hosts": f"[127.0.0.1]:{ssh.port} {ed25519()[1]}"}, "has another host key"),
        (lambda ssh: {"url": ssh.url.replace("dags.git", "gone.git")}, "does not appear to be a git repository"),
    ],
    ids=["another-key", "no-key", "unknown-host", "another-host-key", "no-repository"],
)  # fmt: skip
def test_ssh_is_refused_with_a_reason(
    ssh: SshServer, tmp_path: Path, change: Callable[[SshServer], dict[str, str]], reason: str
) -> None:
    syncing = Syncing(tmp_path / "dags", dataclasses.replace(of_ssh(ssh), **change(ssh)))
    line = syncing.fails()
    assert reason in line
    assert "PRIVATE KEY" not in line


def test_a_listener_that_sends_nothing_does_not_hang_the_syncer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_transport, "READ_S", 0.3)
    private, public = ed25519()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        server = GitServer(f"ssh://git@{host}/org/dags.git", private, f"[127.0.0.1]:{host[10:]} {public}")
        assert "127.0.0.1: " in Syncing(tmp_path / "dags", server).fails()


def test_the_command_of_the_container_reads_git_and_shows_its_secret_nowhere(
    ssh: SshServer, repository: Repository, tmp_path: Path
) -> None:
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OPENMWAA_DAG_BUCKET": "unused",
        "OPENMWAA_DAG_PREFIX": "unused",
        "OPENMWAA_DAG_FOLDER": str(tmp_path / "dags"),
        "OPENMWAA_DAG_SYNC_INTERVAL_S": "0.2",
        "OPENMWAA_DAG_GIT_URL": ssh.url,
        "OPENMWAA_DAG_GIT_REF": "main",
        "OPENMWAA_DAG_GIT_FOLDER": "sub",
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
            lines = [syncer.stdout.readline() for _ in range(3)]
            commit = repository.push({"sub/two.py": "new"})
            while commit not in lines[-1]:
                lines.append(syncer.stdout.readline())
                assert lines[-1], lines
            arguments = Path(f"/proc/{syncer.pid}/cmdline").read_text()
        finally:
            syncer.terminate()
        lines += syncer.stdout.readlines()
    assert lines[0].startswith(f"syncing {ssh.url}@main#sub every")
    assert (tmp_path / "dags/current/two.py").read_text() == "new"
    assert syncer.returncode == 143
    body = ssh.private_key.splitlines()[1]
    assert body not in "".join([*lines, arguments])


def test_a_syncer_that_was_killed_starts_again_with_its_versions(syncing: Syncing, repository: Repository) -> None:
    syncing.sync()
    again = Syncing(syncing.root, syncing.server)
    assert not again.sync()
    assert len(list(syncing.root.glob("building-*"))) == 1
    assert again.files() == syncing.files()
    shutil.rmtree(repository.bare)
    assert "no repository /org/dags.git" in again.fails()
