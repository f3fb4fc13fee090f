# SPDX-License-Identifier: Apache-2.0
"""DAGs from a git repository."""

import base64
import contextlib
import re
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, model_validator

from openmwaa.config.network import Network
from openmwaa.config.strict_model import FieldError, StrictModel
from openmwaa.config.text_rules import GitUrl, KmsKey, KnownHosts, SecretArn

_PARTS: Final = re.compile(
    r"git\+(?P<url>(?P<scheme>\w+)://(?P<user>[^/@]+@)?(?P<host>[^/:]+)(:(?P<port>\d+))?[^@#]+)@(?P<ref>[^#]+)"
    r"(#(?P<folder>.*))?"
)
_PORTS: Final = {"https": 443, "ssh": 22}
_LAST_PORT: Final = 65_535
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_KEY: Final = re.compile(
    r"(?P<hosts>[^\s@#]\S*)\s+(?P<type>ssh-ed25519|ecdsa-sha2-nistp\d+|ssh-rsa)\s+(?P<key>\S+)(\s.*)?"
)


class GitDags(StrictModel):
    """DAGs from a git repository, not from the bucket; a text is the `url` of a public one."""

    url: GitUrl
    """Repository, branch or tag, and folder: git+https://github.com/org/repository@main#dags, or with git+ssh://."""
    secret_arn: SecretArn | None = None
    """A secret whose text is a token for HTTPS or a private key for SSH, which can only read; none if it is public."""
    secret_kms_key: KmsKey | None = None
    """The KMS key of that secret, if it is customer-managed."""
    known_hosts: KnownHosts | None = None
    """With SSH: the public keys of the server in the lines of `ssh-keyscan`; compare them with the published ones."""

    @property
    def _parts(self) -> dict[str, str]:
        match = _PARTS.fullmatch(self.url)
        return {name: text or "" for name, text in match.groupdict().items()} if match else {}

    @property
    def repository(self) -> str:
        """The address of the repository: https://… or ssh://…."""
        return self._parts["url"]

    @property
    def ref(self) -> str:
        """The branch or tag."""
        return self._parts["ref"]

    @property
    def folder(self) -> str:
        """The folder in the repository; empty for its root."""
        return self._parts["folder"]

    @property
    def host(self) -> str:
        """The host of the server."""
        return self._parts["host"].lower()

    @property
    def port(self) -> int:
        """The TCP port of the server."""
        return int(self._parts["port"] or _PORTS[self._parts["scheme"]])

    @model_validator(mode="after")
    def _can_exist(self) -> Self:
        if not 0 < self.port <= _LAST_PORT:
            raise FieldError(f"has the port {self.port}; the last one is {_LAST_PORT}", "url")
        if self.ref.startswith("refs/") or self.ref.endswith(".lock"):
            raise FieldError(f"has `{self.ref}`, which is the name of no branch or tag, such as main or v1", "url")
        if _COMMIT.fullmatch(self.ref):
            raise FieldError("has the hash of a commit; write a branch, or a tag of this commit", "url")
        return self

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if self._parts["scheme"] == "ssh":
            if self.secret_arn is None:
                raise FieldError("git+ssh:// needs the secret of a private key, such as that of a deploy key", "url")
            self._check_known_hosts()
        elif self.known_hosts is not None:
            raise FieldError("is for git+ssh://; a certificate shows who an HTTPS server is", "known_hosts")
        elif self._parts["user"] and self.secret_arn is None:
            raise FieldError("has a user without a secret; write a token into the secret of `secret_arn`", "url")
        if self.secret_kms_key and not self.secret_arn:
            raise FieldError("is the key of no secret: set `secret_arn` too, or leave this out", "secret_kms_key")
        return self

    def _check_known_hosts(self) -> None:
        name = self.host if self.port == _PORTS["ssh"] else f"[{self.host}]:{self.port}"
        lines = [line for line in (self.known_hosts or "").splitlines() if line.strip() and not line.startswith("#")]
        keys = [_public_key(line.strip()) for line in lines]
        if None in keys:
            raise FieldError(f"has a line that is no public key: {lines[keys.index(None)]!r}", "known_hosts")
        hosts = [host for key in keys if key for host in key["hosts"].split(",")]
        if not any(host.lower() == name or host.startswith("|") for host in hosts):
            raise FieldError(
                f"must have a public key of {name}: a line of `ssh-keyscan -p {self.port} {self.host}`, compared with "
                "the published key",
                "known_hosts" if self.known_hosts else "url",
            )

    def check(self, network: Network) -> None:
        """Raise FieldError if the tasks of DAG code cannot reach the server."""
        if network.egress_mode == "ENDPOINTS_ONLY":
            raise FieldError(
                f"`network.egress`: with ENDPOINTS_ONLY there is no route to {self.host}. Use NAT_GATEWAY; or leave "
                "`dags` out, and let a pipeline upload the DAGs to the bucket with `openmwaa dags deploy`",
                "dags",
            )
        if network.egress_ports is not None and self.port not in (*network.egress_ports, 443):
            raise FieldError(
                f"the port {self.port} of {self.host} is not open; add it to `network.egress_ports`",
                *("network", "egress_ports"),
            )


def _public_key(line: str) -> re.Match[str] | None:
    if found := _KEY.fullmatch(line):
        with contextlib.suppress(ValueError):
            # The data starts with four bytes of a length, and the type.
            if base64.b64decode(found["key"], validate=True)[4:].startswith(found["type"].encode()):
                return found
    return None


def _url_alone(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


Dags = Annotated[GitDags, BeforeValidator(_url_alone, json_schema_input_type=GitUrl | GitDags)]
