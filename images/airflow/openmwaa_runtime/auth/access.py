# SPDX-License-Identifier: Apache-2.0
"""What a caller may do: the interface of the static table and of IAM's policies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.principal import Principal

RoleAction = Literal["airflow:CreateWebLoginToken", "airflow:InvokeRestApi"]
"""The actions whose resource is a role."""


@dataclass(frozen=True)
class RequestContext:
    """Keys of IAM conditions that the request determines."""

    source_ip: str
    secure: bool = True


@dataclass(frozen=True)
class Grant:
    """A role, and what grants it."""

    role: AirflowRole
    granted_by: Sequence[str]
    """Names of IAM policies, or the row of the static table."""


class AccessPolicy(Protocol):
    """Decides roles and actions. Both methods raise these errors.

    Raises:
        AccessDeniedError: not granted; the message has the action and the resource.
        AuthUnavailableError: IAM does not answer.
    """

    def role(
        self, principal: Principal, action: RoleAction, wanted: AirflowRole | None, context: RequestContext
    ) -> Grant:
        """The wanted role if it is granted; without a wanted one the highest granted role."""
        ...

    def allow(self, principal: Principal, action: str, context: RequestContext) -> Sequence[str]:
        """Allow an action on the environment, such as `airflow:CreateCliToken`; return what grants it."""
        ...
