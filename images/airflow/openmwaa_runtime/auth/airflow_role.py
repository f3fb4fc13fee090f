# SPDX-License-Identifier: Apache-2.0
"""Airflow's five roles, as IAM policies for MWAA name them, from the lowest to the highest."""

from enum import StrEnum


class AirflowRole(StrEnum):
    """A role; `arn:PARTITION:airflow:REGION:ACCOUNT:role/ENVIRONMENT/ROLE` is its resource in IAM policies."""

    PUBLIC = "Public"
    VIEWER = "Viewer"
    USER = "User"
    OP = "Op"
    ADMIN = "Admin"

    @property
    def rank(self) -> int:
        """0 for Public, 4 for Admin."""
        return list(AirflowRole).index(self)

    def includes(self, other: "AirflowRole") -> bool:
        """Return whether this role has all permissions of `other`."""
        return self.rank >= other.rank
