# SPDX-License-Identifier: Apache-2.0
"""`prepare-broker`: sets the passwords and permissions of the Redis users, before other components start.

Terraform creates the users disabled and without a password, so that its state contains none. This command runs at each
start of a scheduler. It is idempotent: a user that can log in and has the permissions below costs one call.

| user     | permissions                                                          |
|----------|----------------------------------------------------------------------|
| `celery` | read and write every key, as kombu needs; no administration          |
| `scaler` | count messages, and read the queue of each message in flight         |
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from openmwaa_runtime.errors import BrokerError, PreparationError, UsageError
from openmwaa_runtime.settings.container_env import ContainerEnv

WAIT_S = 600.0
POLL_S = 2.0
TIMEOUT_S = 5.0

PERMISSIONS: Mapping[str, str] = {
    # By category and not by command: versions of kombu use different commands (5.7 has scripts that call TIME).
    "celery": "on ~* resetchannels -@all +@read +@write +@connection +@transaction +@scripting +time "
    "-@admin -@dangerous",
    "scaler": "on ~* resetchannels -@all +hkeys +hlen +hmget +llen +smembers",
}
_PASSWORDS: Mapping[str, str] = {"celery": "OPENMWAA_BROKER_PASSWORD", "scaler": "OPENMWAA_SCALER_BROKER_PASSWORD"}
# The user or the cluster is being changed: try again later.
_RETRY_CODES = (
    "InvalidUserState",
    "InvalidUserStateFault",
    "InvalidUserGroupState",
    "Throttling",
    "ThrottlingException",
)


def main(
    environ: Mapping[str, str],
    *,
    elasticache: Any = None,
    log: Callable[[str], None] = print,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Prepare the users. Returns when all of them can log in.

    Raises:
        UsageError: a variable is missing or wrong.
        PreparationError: they cannot after 10 minutes. The message has the last state.
    """
    env = ContainerEnv.read("prepare-broker", environ, "")
    users = user_ids(environ)
    end = clock() + WAIT_S
    api = elasticache or _elasticache()
    while problems := [problem for user in users if (problem := _prepare(env, api, user, users[user], log))]:
        if clock() >= end:
            raise PreparationError(f"the broker is not prepared after {WAIT_S:.0f} s: {'; '.join(problems)}")
        log(f"waiting: {'; '.join(problems)}")
        sleep(POLL_S)
    log(f"the broker is prepared for {' and '.join(users)}")


def find_problem(environ: Mapping[str, str]) -> str | None:
    """Return why a user cannot log in; None if all can."""
    env = ContainerEnv.read("prepare-broker", environ, "")
    return next((failure.text for user in user_ids(environ) if (failure := check_login(env, user))), None)


def user_ids(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the ElastiCache user id of each user.

    Raises:
        UsageError: OPENMWAA_BROKER_USER_IDS is invalid.
    """
    try:
        users = json.loads(environ["OPENMWAA_BROKER_USER_IDS"])
        return {user: str(users[user]) for user in PERMISSIONS}
    except (ValueError, KeyError, TypeError):
        expected = ", ".join(f'"{user}": …' for user in PERMISSIONS)
        raise UsageError(f"OPENMWAA_BROKER_USER_IDS must be a JSON object {{{expected}}}") from None


@dataclass(frozen=True)
class LoginFailure:
    """Why a user cannot log in and read the length of a list."""

    text: str
    is_refused: bool
    """Whether Redis refused the login; otherwise Redis did not respond."""


def check_login(env: ContainerEnv, user: str) -> LoginFailure | None:
    """Return why `user` cannot log in; None if it can."""
    import redis  # noqa: PLC0415 - installed in the image; needed with the Redis broker only

    url = env.broker_url(user=user, password_variable=_PASSWORDS[user])
    client = redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
    try:
        client.llen("openmwaa")
    except (redis.RedisError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        refusals = (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError)
        return LoginFailure(f"{user} cannot log in: {reason}", isinstance(error, refusals))
    finally:
        client.close()
    return None


def _prepare(env: ContainerEnv, api: Any, user: str, user_id: str, log: Callable[[str], None]) -> str | None:
    """Make the next change to one user. Returns what is missing; None if the user is prepared."""
    failure = check_login(env, user)
    try:
        found = api.describe_users(UserId=user_id)["Users"][0]
        if found["Status"] != "active":
            return f"{user_id} is {found['Status']}"
        # ElastiCache may add parts to the access string.
        if set(PERMISSIONS[user].split()) <= set(found["AccessString"].split()):
            if failure is None:
                return None
            if not failure.is_refused:
                return failure.text  # Redis does not respond: a new password would not help
        password = env.environ[_PASSWORDS[user]]
        mode = {"Type": "password", "Passwords": [password]}
        api.modify_user(UserId=user_id, AccessString=PERMISSIONS[user], AuthenticationMode=mode)
    except Exception as error:  # noqa: BLE001 - boto3 creates its error classes at run time
        code = _code(error)
        if code in _RETRY_CODES:
            return f"{user_id}: {code}"
        # Not the error's own text: it may contain the request with the password.
        raise BrokerError(f"ElastiCache refused the change of {user_id}: {code}") from None
    log(f"set the password and permissions of {user_id}")
    return f"{user_id} is being changed"


def _code(error: Exception) -> str:
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code") or type(error).__name__)


def _elasticache() -> Any:
    import boto3  # noqa: PLC0415 - installed in the image only

    return boto3.client("elasticache")
