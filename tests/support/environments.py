# SPDX-License-Identifier: Apache-2.0
"""Environments as tests need them."""

from collections.abc import Mapping
from typing import Any, Final

LEAST: Final[Mapping[str, Any]] = {"name": "example", "web_access": {"allow_http": True}}
"""The least that an environment says: a name, and that the private web server may answer without TLS."""
LEAST_YAML: Final = "name: example\nweb_access: {allow_http: true}\n"
