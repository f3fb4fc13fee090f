# SPDX-License-Identifier: Apache-2.0
"""ElastiCache's users on a real redis-server: what ModifyUser does there, `ACL SETUSER` does here."""

from collections.abc import Mapping
from typing import Any

import redis
from botocore.exceptions import ClientError

USER_IDS: Mapping[str, str] = {"celery": "openmwaa-demo-celery", "scaler": "openmwaa-demo-scaler"}
OFF = "off -@all"


class ElastiCacheUsers:
    """The part of ElastiCache's API that `prepare-broker` calls; users begin as Terraform makes them."""

    def __init__(self, server: redis.Redis) -> None:
        self._server = server
        self._access = dict.fromkeys(USER_IDS.values(), OFF)
        self._busy: dict[str, int] = {}
        self.modified: list[str] = []
        for name in USER_IDS:
            self._set(name, OFF, [])

    def busy(self, user_id: str, times: int) -> None:
        """Refuse the next changes of a user: another one is under way."""
        self._busy[user_id] = times

    def describe_users(self, *, UserId: str) -> dict[str, Any]:  # noqa: N803 - as boto3 calls it
        return {"Users": [{"UserId": UserId, "Status": "active", "AccessString": self._access[UserId]}]}

    def modify_user(self, *, UserId: str, AccessString: str, AuthenticationMode: Mapping[str, Any]) -> None:  # noqa: N803
        if self._busy.get(UserId):
            self._busy[UserId] -= 1
            raise ClientError({"Error": {"Code": "InvalidUserState", "Message": "…"}}, "ModifyUser")
        assert AuthenticationMode["Type"] == "password"
        self.modified.append(UserId)
        # ElastiCache normalises the access string and adds to it.
        self._access[UserId] = f"{AccessString} sanitize-payload"
        (name,) = [name for name, user_id in USER_IDS.items() if user_id == UserId]
        self._set(name, AccessString, AuthenticationMode["Passwords"])

    def _set(self, name: str, access: str, passwords: list[str]) -> None:
        words = [*access.split(), *(f">{password}" for password in passwords)]
        self._server.execute_command("ACL", "SETUSER", name, "reset", *words)  # type: ignore[no-untyped-call]
