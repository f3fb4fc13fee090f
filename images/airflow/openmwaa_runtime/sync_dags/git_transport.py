# SPDX-License-Identifier: Apache-2.0
"""The connection to a git server, by HTTPS with a token or by SSH with a key. Every wait has a deadline.

dulwich has the protocol, paramiko SSH. dulwich's own use of ssh needs the program, which the image does not have.
"""

import contextlib
import io
import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from dulwich.client import GitClient, HTTPUnauthorized, SSHGitClient, SSHVendor, Urllib3HttpGitClient
from dulwich.errors import NotGitRepository
from dulwich.protocol import Protocol
from paramiko import (
    AuthenticationException,
    BadHostKeyException,
    ECDSAKey,
    Ed25519Key,
    MissingHostKeyPolicy,
    PKey,
    RSAKey,
    SSHClient,
)
from paramiko.hostkeys import HostKeyEntry
from paramiko.ssh_exception import SSHException
from urllib3 import PoolManager, Retry

READ_S: Final = 10.0
"""For the connection, and for the next bytes of an answer."""
DEFAULT_USER: Final = "git"
_OK, _NOT_FOUND, _REFUSED = 200, 404, frozenset({401, 403})


# It writes the traceback of each connection that fails; the syncer writes one line.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


class GitError(Exception):
    """The repository cannot be read. The text never contains the token or the key."""


@dataclass(frozen=True)
class GitServer:
    """A repository on a server: `https://[USER@]HOST/PATH` with a token, or `ssh://[USER@]HOST/PATH` with a key."""

    url: str
    secret: str | None = field(default=None, repr=False)
    known_hosts: str = ""

    @property
    def host(self) -> str:
        """The host's name."""
        return urlsplit(self.url).hostname or ""

    @property
    def path(self) -> str:
        """The path of the repository on its host."""
        return urlsplit(self.url).path

    def client(self) -> GitClient:
        """Return a client for one connection.

        Raises:
            GitError: the secret is no private key.
        """
        parts = urlsplit(self.url)
        user = parts.username or DEFAULT_USER
        if parts.scheme == "ssh":
            vendor = _Paramiko(_private_key(self.secret or ""), self.known_hosts)
            return _Ssh(self.host, parts.port, user, vendor, thin_packs=False)
        if parts.scheme != "https":
            raise GitError(f"{self.url} begins with neither https:// nor ssh://")
        return _Https(
            f"https://{parts.netloc.rpartition('@')[2]}/",
            # A second try comes with the next sync.
            pool_manager=PoolManager(timeout=READ_S, retries=Retry(None, connect=0, read=0, redirect=3)),
            username=user if self.secret else None,
            password=self.secret,
            thin_packs=False,
        )

    def reason(self, error: Exception) -> str:
        """Return why the server was not read, without the secret."""
        secret = "token" if self.url.startswith("https:") else "key"
        match error:
            case HTTPUnauthorized() | AuthenticationException():
                text = f"{self.host} refuses the {secret}; check the secret of `dags.secret_arn`"
            case NotGitRepository():
                text = f"{self.host} has no repository {self.path}, or the {secret} may not read it"
            case BadHostKeyException():
                text = f"{self.host} has another host key than `dags.known_hosts`; nothing was sent to it"
            case GitError():
                text = str(error)
            case _:
                text = f"{self.host}: {type(error).__name__}: {error}"
        return text.replace(self.secret, "***") if self.secret else text


@contextlib.contextmanager
def deadline(seconds: float, what: str) -> Iterator[None]:
    """Raise GitError in the main thread after `seconds`, also while a server sends a byte now and then.

    A limit of each read does not end that. After the limit the signal comes again every second: a library may handle
    an error as one of its own.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise GitError(f"{what} took longer than {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, stop)
    before = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)
        signal.signal(signal.SIGALRM, handler)


class _Https(Urllib3HttpGitClient):
    """Reads from the server of the URL only: a redirect to another one is an error, and gets no token."""

    def close(self) -> None:
        """Close the connections."""
        self.pool_manager.clear()

    def _http_request(
        self, url: str, headers: dict[str, str] | None = None, data: Any = None, raise_for_status: bool = True
    ) -> tuple[Any, Callable[[int], bytes]]:
        response, read = super()._http_request(url, headers, data, raise_for_status=False)
        server, found = urlsplit(url).netloc, urljoin(url, response.redirect_location)
        error: Exception | None = None
        if self._origin(found) != self._origin(self._base_url):
            error = GitError(f"{server} redirects to {urlsplit(found).netloc}; write that server in the file")
        elif response.status in _REFUSED:
            error = HTTPUnauthorized(None, url)
        elif response.status == _NOT_FOUND:
            error = NotGitRepository()
        elif response.status != _OK or not str(response.content_type).startswith("application/x-git-"):
            error = GitError(f"{server} does not answer as a git server: {response.status}, {response.content_type}")
        if error is not None:
            response.close()
            raise error
        return response, read


class _Ssh(SSHGitClient):
    """Closes its connection also after an error."""

    _protocol: Protocol | None = None

    def _connect(self, *arguments: Any, **options: Any) -> tuple[Protocol, Callable[[], bool], Any]:
        found = super()._connect(*arguments, **options)
        self._protocol = found[0]
        return found

    def close(self) -> None:
        """Close the connection."""
        if self._protocol is not None:
            self._protocol.close()


class _Refuse(MissingHostKeyPolicy):  # type: ignore[misc] # paramiko has no types
    def missing_host_key(self, _client: object, hostname: str, _key: object) -> None:
        raise GitError(f"`dags.known_hosts` has no key of {hostname}; nothing was sent to it")


class _Paramiko(SSHVendor):
    """Opens connections to hosts whose key is known; other hosts are refused."""

    def __init__(self, key: PKey, known_hosts: str) -> None:
        self._key = key
        self._known_hosts = known_hosts

    def run_command(
        self,
        host: str,
        command: bytes,
        username: str | None = None,
        port: int | None = None,
        password: str | None = None,
        key_filename: str | None = None,
        ssh_command: str | None = None,
        protocol_version: int | None = None,
    ) -> Any:
        """Return a channel in which the host runs `command`."""
        client = SSHClient()
        client.set_missing_host_key_policy(_Refuse())
        for line in self._known_hosts.splitlines():
            if entry := None if line.startswith("#") else HostKeyEntry.from_line(line):
                for name in entry.hostnames:
                    client.get_host_keys().add(name, entry.key.get_name(), entry.key)
        limits = {f"{kind}timeout": READ_S for kind in ("", "banner_", "auth_", "channel_")}
        try:
            client.connect(host, port or 22, username, pkey=self._key, allow_agent=False, look_for_keys=False, **limits)
            channel = client.get_transport().open_session(timeout=READ_S)
            channel.settimeout(READ_S)
            if protocol_version in (None, 2):  # of the second protocol the server sends the asked references only
                channel.set_environment_variable("GIT_PROTOCOL", "version=2")
            channel.exec_command(command)
        except BaseException:
            client.close()
            raise
        return _Channel(client, channel)


class _Channel:
    """A channel as dulwich reads and writes it."""

    def __init__(self, client: Any, channel: Any) -> None:
        self._client = client
        self._output, self._errors = channel.makefile("rb"), channel.makefile_stderr("rb")
        self.write = channel.sendall
        self.can_read = channel.recv_ready

    def read(self, size: int) -> bytes:
        """Return the next bytes of the server.

        Raises:
            GitError: the server ended with a message.
        """
        data = bytes(self._output.read(size))
        if not data and (message := self._errors.read().decode(errors="replace").strip()):
            raise GitError(message)
        return data

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _private_key(text: str) -> PKey:
    for kind in (Ed25519Key, ECDSAKey, RSAKey):
        with contextlib.suppress(SSHException, ValueError, IndexError):
            return kind.from_private_key(io.StringIO(text.strip() + "\n"))
    raise GitError(
        "the secret of `dags.secret_arn` is no private key without a passphrase: Ed25519, ECDSA or RSA, as ssh-keygen "
        "writes it"
    )
