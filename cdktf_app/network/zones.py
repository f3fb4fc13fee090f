# SPDX-License-Identifier: Apache-2.0
"""Zones with Fargate and with CloudFront VPC origins, in Regions where AWS documents them for some zones only."""

from collections.abc import Mapping
from typing import Final

FARGATE_ZONES: Final[Mapping[str, tuple[str, ...]]] = {
    "us-west-1": ("usw1-az1", "usw1-az3"),
    "ap-northeast-1": ("apne1-az1", "apne1-az2", "apne1-az4"),
    "ca-central-1": ("cac1-az1", "cac1-az2"),
    "cn-north-1": ("cnn1-az1", "cnn1-az2"),
}
"""Zone ids by Region."""
WITHOUT_VPC_ORIGINS: Final[Mapping[str, str]] = {
    "us-east-1": "use1-az3",
    "us-west-1": "usw1-az2",
    "ap-northeast-1": "apne1-az3",
    "ca-central-1": "cac1-az3",
}
"""Region -> id of the zone without VPC origins (CloudFront developer guide, "Restrict access with VPC origins")."""
