# SPDX-License-Identifier: Apache-2.0
"""What an emulator takes and does not give back, so that a second plan would want to change it for ever.

Written into the override as `ignore_changes`: these attributes are applied, and a second plan says nothing of them.
What AWS itself returns decides; docs/reference/emulators.md has this table. ministack 1.5.33.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

NOT_RETURNED: Final[Mapping[str, tuple[str, ...]]] = {}


def ignoring(stack: Mapping[str, Any], turned: dict[str, Any]) -> None:
    """Add the table to an override, beside what it and the stack ignore already."""
    for kind, attributes in NOT_RETURNED.items():
        for name, resource in stack.get("resource", {}).get(kind, {}).items():
            of_override = turned.setdefault("resource", {}).setdefault(kind, {}).setdefault(name, {})
            lifecycle = of_override.get("lifecycle") or resource.get("lifecycle") or {}
            if lifecycle.get("ignore_changes") == "all":
                continue
            ignored = [*lifecycle.get("ignore_changes", ()), *attributes]
            of_override["lifecycle"] = {**lifecycle, "ignore_changes": list(dict.fromkeys(ignored))}
