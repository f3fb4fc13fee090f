# SPDX-License-Identifier: Apache-2.0
"""`prepare-broker`: Redis's users get their passwords and rights, before anything else runs.

Terraform made them switched off and without a password, so that it knows none. This runs at each start of a scheduler:
who can log in already and has the rights below is left alone, so it is idempotent and makes one call a user then.

| user     | may                                                               |
|----------|-------------------------------------------------------------------|
| `celery` | what kombu does: lists, `unacked`, bindings; no administration      |
| `scaler` | count, and read to which queue a message in flight belongs           |
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from openmwaa_runtime.errors import BrokerProblem, PreparationFailed, UsageProblem
from openmwaa_runtime.settings.facts import Facts

WAIT_S = 600.0
POLL_S = 2.0
ANSWER_WITHIN_S = 5.0

_KOMBU = (
    *("blpop", "brpop", "llen", "lpop", "lpush", "lrem", "lrange", "rpop", "rpush"),
    *("hdel", "hget", "hkeys", "hlen", "hmget", "hset"),
    *("zadd", "zrem", "zrevrangebyscore", "zrangebyscore", "zcard"),
    *("sadd", "scard", "sismember", "smembers", "srem"),
    *("del", "exists", "expire", "get", "pexpire", "pttl", "set", "setnx"),
    *("discard", "exec", "multi", "unwatch", "watch"),
    *("eval", "evalsha", "script"),
    *("ping", "select"),
)
_COUNTING = ("hkeys", "hlen", "hmget", "llen", "smembers")


def access(commands: tuple[str, ...]) -> str:
    """Return a user's access string: these commands on every key, and no channel."""
    return " ".join(("on", "~*", "resetchannels", "-@all", *(f"+{command}" for command in commands)))


RIGHTS: Mapping[str, str] = {"celery": access(_KOMBU), "scaler": access(_COUNTING)}
_PASSWORDS: Mapping[str, str] = {
    "celery": "OPENMWAA_BROKER_PASSWORD",
    "scaler": "OPENMWAA_SCALER_BROKER_PASSWORD",
}
# Somebody else changes the user, or the cluster takes in another change.
_LATER = ("InvalidUserState", "InvalidUserStateFault", "InvalidUserGroupState", "Throttling", "ThrottlingException")


def main(
    environ: Mapping[str, str],
    *,
    elasticache: Any = None,
    say: Callable[[str], None] = print,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Prepare the users; return when all of them can log in.

    Raises:
        UsageProblem: a variable is missing or wrong.
        PreparationFailed: they cannot after 10 minutes; the message says what was seen last.
    """
    facts = Facts.read("prepare-broker", environ, "")
    users = user_ids(environ)
    end = clock() + WAIT_S
    api = elasticache or _elasticache()
    while problems := [problem for party in users if (problem := _prepare(facts, api, party, users[party], say))]:
        if clock() >= end:
            raise PreparationFailed(f"the broker is not prepared after {WAIT_S:.0f} s: {'; '.join(problems)}")
        say(f"waiting: {'; '.join(problems)}")
        sleep(POLL_S)
    say(f"the broker is prepared for {' and '.join(users)}")


def trouble(environ: Mapping[str, str]) -> str | None:
    """What keeps a user from logging in; None when all can."""
    facts = Facts.read("prepare-broker", environ, "")
    return next((problem for party in user_ids(environ) if (problem := login_problem(facts, party))), None)


def user_ids(environ: Mapping[str, str]) -> dict[str, str]:
    """What ElastiCache calls the users that are called so here.

    Raises:
        UsageProblem: OPENMWAA_BROKER_USER_IDS is wrong.
    """
    try:
        users = json.loads(environ["OPENMWAA_BROKER_USER_IDS"])
        return {party: str(users[party]) for party in RIGHTS}
    except (ValueError, KeyError, TypeError):
        wanted = ", ".join(f'"{party}": …' for party in RIGHTS)
        raise UsageProblem(f"OPENMWAA_BROKER_USER_IDS must be a JSON object {{{wanted}}}") from None


def login_problem(facts: Facts, party: str) -> str | None:
    """Why `party` cannot log in and count; None when it can."""
    import redis  # noqa: PLC0415 - lives in the image; only this broker needs it

    url = facts.broker_url(user=party, given_in=_PASSWORDS[party])
    limits = {"socket_timeout": ANSWER_WITHIN_S, "socket_connect_timeout": ANSWER_WITHIN_S}
    client = redis.Redis.from_url(url, **limits)
    try:
        client.llen("openmwaa")
    except (redis.RedisError, OSError) as error:
        return f"{party} cannot log in: {str(error).splitlines()[0][:200]}"
    finally:
        client.close()
    return None


def has_rights(found: str, wanted: str) -> bool:
    """Whether an access string says what is wanted; ElastiCache may write more of it than it was told."""
    return set(wanted.split()) <= set(found.split())


def _prepare(facts: Facts, api: Any, party: str, user_id: str, say: Callable[[str], None]) -> str | None:
    """Bring one user a step further; what is not ready yet, None when all is."""
    problem = login_problem(facts, party)
    try:
        user = api.describe_users(UserId=user_id)["Users"][0]
        if user["Status"] != "active":
            return f"{user_id} is {user['Status']}"
        if problem is None and has_rights(user["AccessString"], RIGHTS[party]):
            return None
        if has_rights(user["AccessString"], RIGHTS[party]) and not _refused(problem):
            return problem  # Redis itself is away: another password would not help
        password = facts.environ[_PASSWORDS[party]]
        mode = {"Type": "password", "Passwords": [password]}
        api.modify_user(UserId=user_id, AccessString=RIGHTS[party], AuthenticationMode=mode)
    except Exception as error:  # noqa: BLE001 - boto3's errors are made at run time
        code = _code(error)
        if code in _LATER:
            return f"{user_id}: {code}"
        # Never the error's own text, for the request holds the password.
        raise BrokerProblem(f"ElastiCache refuses to prepare {user_id}: {code}") from None
    say(f"gave {user_id} its password and rights")
    return f"{user_id} is being changed"


def _refused(problem: str | None) -> bool:
    return problem is not None and ("WRONGPASS" in problem or "NOAUTH" in problem or "NOPERM" in problem)


def _code(error: Exception) -> str:
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code") or type(error).__name__)


def _elasticache() -> Any:
    import boto3  # noqa: PLC0415 - lives in the image

    return boto3.client("elasticache")
