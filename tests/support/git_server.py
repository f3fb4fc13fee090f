# SPDX-License-Identifier: Apache-2.0
"""A real git repository, served by git's own programs over HTTPS with a token and over SSH with a key."""

import base64
import contextlib
import io
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TOKEN = "ghp_0123456789abcdefSECRET"
_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_HTTP_EXPORT_ALL": "1",
    **{f"GIT_{role}_{what}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


class Repository:
    """A working copy, and the bare repository that it pushes to."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "served"
        self.bare = self.root / "org" / "dags.git"
        self.work = folder / "work"
        self.environment = {**_ENVIRONMENT, "HOME": str(folder), "GIT_PROJECT_ROOT": str(self.root)}
        self.bare.mkdir(parents=True)
        self.work.mkdir()
        self.git("init", "--quiet", "--bare", "--initial-branch", "main", cwd=self.bare)
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("remote", "add", "origin", str(self.bare))

    def git(self, *words: str, cwd: Path | None = None) -> str:
        command = ["git", *words]
        done = subprocess.run(
            command, check=False, cwd=cwd or self.work, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, files: dict[str, str]) -> None:
        for path, content in files.items():
            (self.work / path).parent.mkdir(parents=True, exist_ok=True)
            (self.work / path).write_text(content)

    def push(self, files: dict[str, str] | None = None, *options: str, branch: str = "main") -> str:
        """Commit the working copy and push it. Returns the commit."""
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "change")
        self.git("push", "--quiet", *options, "origin", f"HEAD:refs/heads/{branch}")
        return self.git("rev-parse", "HEAD")


class _TlsServer(ThreadingHTTPServer):
    """Makes each connection's handshake in its own thread."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(OSError), self.tls.wrap_socket(request, server_side=True) as encrypted:
            super().finish_request(encrypted, client_address)


class HttpsServer:
    """`git http-backend`. `mode` makes it misbehave."""

    def __init__(self, repository: Repository, certificate: Path) -> None:
        self.repository = repository
        self.requests: list[str] = []
        self.clients: set[str] = set()
        self.users: list[str] = []
        self.mode = ""
        """`silent`: no answer; `page`: an HTML page; `damaged`: a wrong byte in a commit; a URL: a redirect to it."""
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Nothing."""

            def do_GET(self) -> None:
                outer.answer(self)

            do_POST = do_GET  # noqa: N815

        self._server = _TlsServer(("127.0.0.1", 0), Handler)
        self._server.tls.load_cert_chain(certificate)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"https://{self.address}/org/dags.git"

    def __enter__(self) -> "HttpsServer":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, _, query = request.path.partition("?")
        self.clients.add(request.headers["User-Agent"])
        self.requests.append(f"{request.command} {path.rpartition('/')[2]}")
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if self.mode == "silent":
            self.released.wait(60)
            return
        if self.mode not in {"", "damaged"}:
            self._reply(request, 200 if self.mode == "page" else 302, {"Content-Type": "text/html"}, b"<html>")
            return
        user, _, token = base64.b64decode(request.headers.get("Authorization", "")[6:]).decode().partition(":")
        if token != TOKEN:
            self._reply(request, 401, {"WWW-Authenticate": "Basic"}, b"")
            return
        self.users.append(user)
        variables = {
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": request.command,
            "REMOTE_USER": user,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        }
        environment = {**self.repository.environment, **variables}
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        if self.mode == "damaged" and b"packfile" in content:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
        self._reply(request, int(headers.pop("Status", "200")[:3]), headers, content)

    def _reply(self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
        request.send_response(status)
        more = {"Location": self.mode + request.path} if status == 302 else {}
        for name, value in {**headers, **more, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)


class SshServer:
    """An SSH server that runs `git-upload-pack` for one key."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.private_key, self._accepted = ed25519()
        host_text, host_key = ed25519()
        self.host_keys: list[Any] = [paramiko.Ed25519Key.from_private_key(io.StringIO(host_text))]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.known_hosts = f"[127.0.0.1]:{self.port} {host_key}"
        self.url = f"ssh://git@127.0.0.1:{self.port}/org/dags.git"
        self.connections = 0

    def __enter__(self) -> "SshServer":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # A thread in accept() keeps the listener open after close().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # The client may end the connection at any time.
        with (
            contextlib.suppress(EOFError, OSError, paramiko.SSHException),
            contextlib.closing(paramiko.Transport(connection)) as transport,
        ):
            for key in self.host_keys:
                transport.add_server_key(key)
            session = _Session(self._accepted)
            transport.start_server(server=session)
            channel = transport.accept(10)
            if channel is None or not session.started.wait(10):
                return
            program, _, path = session.command.partition(" ")
            assert program == "git-upload-pack"
            folder = self._repository.root / path.strip("'/")
            variables = {**self._repository.environment, "GIT_PROTOCOL": session.protocol}
            with subprocess.Popen(
                ["git", "upload-pack", str(folder)], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as process:  # fmt: skip
                threading.Thread(target=_copy_in, args=(channel, process), daemon=True).start()
                assert process.stdout
                assert process.stderr
                while data := os.read(process.stdout.fileno(), 65536):
                    channel.sendall(data)
                channel.sendall_stderr(process.stderr.read())
                channel.send_exit_status(process.wait())
            channel.close()


def _copy_in(channel: Any, process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin
    with contextlib.suppress(OSError, ValueError):
        while data := channel.recv(65536):
            process.stdin.write(data)
            process.stdin.flush()
        process.stdin.close()


class _Session(paramiko.ServerInterface):  # type: ignore[misc] # paramiko has no types
    def __init__(self, accepted: str) -> None:
        self._accepted = accepted
        self.started = threading.Event()
        self.command = ""
        self.protocol = ""

    def get_allowed_auths(self, _username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: Any) -> int:
        accepted = username == "git" and f"{key.get_name()} {key.get_base64()}" == self._accepted
        return int(paramiko.AUTH_SUCCESSFUL if accepted else paramiko.AUTH_FAILED)

    def check_channel_request(self, _kind: str, _id: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)

    def check_channel_env_request(self, _channel: Any, name: bytes, value: bytes) -> bool:
        self.protocol = value.decode() if name == b"GIT_PROTOCOL" else self.protocol
        return True

    def check_channel_exec_request(self, _channel: Any, command: bytes) -> bool:
        self.command = command.decode()
        self.started.set()
        return True


def ed25519() -> tuple[str, str]:
    """Return a new private key as ssh-keygen writes it, and the public one as in known_hosts."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()


@contextlib.contextmanager
def trusted(certificate: Path) -> Iterator[None]:
    """Let clients of this process trust a certificate."""
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(certificate)
    try:
        yield
    finally:
        os.environ.pop("SSL_CERT_FILE")
        os.environ.update({"SSL_CERT_FILE": before} if before else {})
