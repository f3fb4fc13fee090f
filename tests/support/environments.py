# SPDX-License-Identifier: Apache-2.0
"""Environments of tests."""

from collections.abc import Mapping
from typing import Any, Final

LEAST: Final[Mapping[str, Any]] = {"name": "example", "web_access": {"allow_http": True}}
"""A minimal environment: a name, and a private web server without TLS."""
LEAST_YAML: Final = "name: example\nweb_access: {allow_http: true}\n"
