# SPDX-License-Identifier: Apache-2.0
"""The agent's settings, from environment variables."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from worker_agent.errors import SettingsError

DEFAULT_PORT: Final = 8790
DEFAULT_PROTECTION_MINUTES: Final = 60
LONGEST_PROTECTION_MINUTES: Final = 2880  # what ECS accepts: 48 hours
PUBLIC_KEY_BYTES: Final = 32


@dataclass(frozen=True)
class AgentSettings:
    """ECS's endpoints, the port of the agent, and the key that signs commands."""

    ecs_agent_uri: str
    metadata_uri: str | None
    port: int
    public_key: bytes | None
    """Raw Ed25519 key; `None`: every command is refused, so this worker cannot drain."""
    protection_minutes: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "AgentSettings | None":
        """Read the variables. Returns `None` outside ECS (no `ECS_AGENT_URI`).

        Raises:
            SettingsError: A variable has an invalid value.
        """
        agent_uri = environ.get("ECS_AGENT_URI", "").rstrip("/")
        if not agent_uri:
            return None
        return cls(
            ecs_agent_uri=agent_uri,
            metadata_uri=environ.get("ECS_CONTAINER_METADATA_URI_V4", "").rstrip("/") or None,
            port=_whole_number(environ, "WORKER_AGENT_PORT", DEFAULT_PORT, 0, 65535),
            public_key=_public_key(environ.get("WORKER_AGENT_PUBLIC_KEY", "").strip()),
            protection_minutes=_whole_number(
                environ, "WORKER_AGENT_PROTECTION_MINUTES", DEFAULT_PROTECTION_MINUTES, 1, LONGEST_PROTECTION_MINUTES
            ),
        )


def _whole_number(environ: Mapping[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    text = environ.get(name, "").strip()
    try:
        value = int(text) if text else default
    except ValueError:
        value = lowest - 1
    if not lowest <= value <= highest:
        raise SettingsError(f"{name} must be a whole number from {lowest} to {highest}, not {text!r}")
    return value


def _public_key(text: str) -> bytes | None:
    if not text:
        return None
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != PUBLIC_KEY_BYTES:
        raise SettingsError("WORKER_AGENT_PUBLIC_KEY must be the base64 of a raw Ed25519 public key, 32 bytes")
    return key
