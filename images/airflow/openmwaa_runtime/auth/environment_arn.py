# SPDX-License-Identifier: Apache-2.0
"""The ARN of an environment and the resources of IAM policies that follow from it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.errors import UsageError

_PATTERN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):airflow:(?P<region>[a-z0-9-]+):(?P<account>\d{12})"
    r":environment/(?P<name>[a-zA-Z][0-9a-zA-Z_-]{0,79})",
    re.ASCII,
)
_DNS_SUFFIXES = {
    "aws-cn": "amazonaws.com.cn",
    "aws-iso": "c2s.ic.gov",
    "aws-iso-b": "sc2s.sgov.gov",
    "aws-iso-e": "cloud.adc-e.uk",
    "aws-iso-f": "csp.hci.ic.gov",
}


@dataclass(frozen=True)
class EnvironmentArn:
    """`arn:PARTITION:airflow:REGION:ACCOUNT:environment/NAME`, the same as MWAA's for an environment of this name."""

    partition: str
    region: str
    account: str
    name: str

    @classmethod
    def read(cls, text: str) -> "EnvironmentArn":
        """Read an ARN.

        Raises:
            UsageError: it is not the ARN of an environment.
        """
        found = _PATTERN.fullmatch(text)
        if found is None:
            raise UsageError(f"{text!r} is not the ARN of an environment")
        return cls(**found.groupdict())

    def __str__(self) -> str:
        return f"{self._prefix}:environment/{self.name}"

    def role(self, role: AirflowRole) -> str:
        """The resource of `airflow:CreateWebLoginToken` and `airflow:InvokeRestApi`."""
        return f"{self._prefix}:role/{self.name}/{role}"

    @property
    def sts_host(self) -> str:
        """The regional endpoint of STS (AWS General Reference, STS endpoints)."""
        return f"sts.{self.region}.{_DNS_SUFFIXES.get(self.partition, 'amazonaws.com')}"

    def sts_endpoint(self, variables: Mapping[str, str]) -> str:
        """The STS that AWS's standard variables name, else the regional one."""
        named = variables.get("AWS_ENDPOINT_URL_STS") or variables.get("AWS_ENDPOINT_URL")
        return (named or f"https://{self.sts_host}").rstrip("/")

    @property
    def _prefix(self) -> str:
        return f"arn:{self.partition}:airflow:{self.region}:{self.account}"
