# SPDX-License-Identifier: Apache-2.0
"""IPv4 ranges of a VPC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ANYWHERE: Final = "0.0.0.0/0"


@dataclass(frozen=True)
class VpcCidrs:
    """Ranges `known` at synthesis, or an `expression` for a list that Terraform reads."""

    known: tuple[str, ...] = ()
    expression: str = ""
