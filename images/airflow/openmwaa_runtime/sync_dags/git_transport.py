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

from dulwich.client import (
    GitClient,
    HTTPUnauthorized,
    SSHGitClient,
    SSHVendor,
    Urllib3HttpGitClient,
    default_user_agent_string,
)
from dulwich.errors import NotGitRepository
from dulwich.protocol import Protocol
from paramiko import (
    AuthenticationException,
    ECDSAKey,
    Ed25519Key,
    HostKeys,
    MissingHostKeyPolicy,
    PKey,
    RSAKey,
    SSHClient,
)
from paramiko.hostkeys import HostKeyEntry
from paramiko.ssh_exception import IncompatiblePeer, SSHException
from urllib3 import PoolManager, Retry
from urllib3.exceptions import MaxRetryError

READ_S: Final = 10.0
"""For the connection, and for the next bytes of an answer."""
DEFAULT_USER: Final = "git"
_OK, _NOT_FOUND, _REFUSED = 200, 404, frozenset({401, 403})
_FIELD: Final = "`dags.secret_arn` (on your machine: OPENMWAA_DAGS_SECRET)"
_SHOWN: Final = 500
"""Characters of a server's message."""
_RSA, _RSA_SIGNATURES = "ssh-rsa", ("rsa-sha2-512", "rsa-sha2-256")
_HOST_KEY_TYPES: Final = ("ssh-ed25519", *(f"ecdsa-sha2-nistp{bits}" for bits in (256, 384, 521)), *_RSA_SIGNATURES)


# It writes the traceback of each connection that fails; the syncer writes one line.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


class GitError(Exception):
    """The repository cannot be read. The text never contains the token or the key."""


class UnusableCommitError(GitError):
    """The commit itself is the reason, so only another one can be used."""


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
            pool_manager=PoolManager(
                timeout=READ_S,
                # A second try comes with the next sync. `other` has the errors of certificates.
                retries=Retry(None, connect=0, read=0, other=0, redirect=3),
                headers={"User-Agent": default_user_agent_string()},  # GitHub has no repositories for other clients
            ),
            username=user if self.secret else None,
            password=self.secret,
            thin_packs=False,
        )

    def reason(self, error: Exception) -> str:
        """Return why the server was not read, without the secret."""
        if isinstance(error.__cause__, MaxRetryError) and error.__cause__.reason:
            error = error.__cause__.reason
        secret = "token" if self.url.startswith("https:") else "key"
        match error:
            case HTTPUnauthorized() if self.secret is None:
                text = f"{self.host} has no public repository {self.path}; set {_FIELD}"
            case HTTPUnauthorized() | AuthenticationException():
                text = f"{self.host} refuses the {secret}; check the secret of {_FIELD}"
            case NotGitRepository():
                text = f"{self.host} has no repository {self.path}, or the {secret} may not read it"
            case IncompatiblePeer():
                text = f"{self.host} offers no key of a type in `dags.known_hosts`, or old algorithms only: {error}"
            case UnicodeEncodeError():
                text = f"the secret of {_FIELD} is no {secret}: it has a character that is not ASCII"
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


class _KnownHosts(MissingHostKeyPolicy):  # type: ignore[misc] # paramiko has no types
    """Accepts the keys of known_hosts. A host may have two of one type, while it changes its key."""

    def __init__(self, text: str) -> None:
        self._lines = []
        for line in text.splitlines():
            if entry := None if line.startswith("#") else HostKeyEntry.from_line(line):
                hosts = HostKeys()
                for name in entry.hostnames:
                    hosts.add(name.lower() if name[0] != "|" else name, entry.key.get_name(), entry.key)
                self._lines.append(hosts)

    def unknown_types(self, hostname: str) -> list[str]:
        """Return the types of keys that no line of the host has. paramiko would ask for one of them first."""
        known = {kind for hosts in self._lines for kind in hosts.lookup(hostname) or ()}
        known |= {*_RSA_SIGNATURES} if _RSA in known else set()
        return [kind for kind in _HOST_KEY_TYPES if known and kind not in known]

    def missing_host_key(self, _client: object, hostname: str, key: object) -> None:
        if any(hosts.check(hostname, key) for hosts in self._lines):
            return
        if any(hosts.lookup(hostname) for hosts in self._lines):
            raise GitError(f"{hostname} has another host key than `dags.known_hosts`; nothing was sent to it")
        raise GitError(f"`dags.known_hosts` has no key of {hostname}; nothing was sent to it")


class _Paramiko(SSHVendor):
    """Opens connections to hosts whose key is known; other hosts are refused."""

    def __init__(self, key: PKey, known_hosts: str) -> None:
        self._key = key
        self._known_hosts = _KnownHosts(known_hosts)

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
        client.set_missing_host_key_policy(self._known_hosts)
        name = host if port in {None, 22} else f"[{host}]:{port}"
        options: dict[str, Any] = {f"{kind}timeout": READ_S for kind in ("", "banner_", "auth_", "channel_")}
        options |= {"disabled_algorithms": {"keys": self._known_hosts.unknown_types(name)}}
        try:
            client.connect(
                host, port or 22, username, pkey=self._key, allow_agent=False, look_for_keys=False, **options
            )
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
            raise GitError(message[-_SHOWN:])
        return data

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _private_key(text: str) -> PKey:
    for kind in (Ed25519Key, ECDSAKey, RSAKey):
        with contextlib.suppress(SSHException, ValueError, IndexError):
            return kind.from_private_key(io.StringIO(text.strip() + "\n"))
    raise GitError(
        f"the secret of {_FIELD} is no private key without a passphrase: Ed25519, ECDSA or RSA, as ssh-keygen writes it"
    )
