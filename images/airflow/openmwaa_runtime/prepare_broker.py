# SPDX-License-Identifier: Apache-2.0
"""`prepare-broker`: Redis's users get their passwords and rights, before anything else runs.

Terraform made them switched off and without a password, so that it knows none. This runs at each start of a scheduler:
who can log in already and has the rights below is left alone, so it is idempotent and makes one call a user then.

| user     | may                                                               |
|----------|-------------------------------------------------------------------|
| `celery` | read and write every key, as kombu does; no administration        |
| `scaler` | count, and read to which queue a message in flight belongs           |
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from openmwaa_runtime.errors import BrokerProblem, PreparationFailed, UsageProblem
from openmwaa_runtime.settings.container_env import Facts

WAIT_S = 600.0
POLL_S = 2.0
ANSWER_WITHIN_S = 5.0

RIGHTS: Mapping[str, str] = {
    # By kind and not by name: each kombu calls some others (5.7 has scripts that ask for the time).
    "celery": "on ~* resetchannels -@all +@read +@write +@connection +@transaction +@scripting +time "
    "-@admin -@dangerous",
    "scaler": "on ~* resetchannels -@all +hkeys +hlen +hmget +llen +smembers",
}
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


def problem_of(environ: Mapping[str, str]) -> str | None:
    """What keeps a user from logging in; None when all can."""
    facts = Facts.read("prepare-broker", environ, "")
    return next((found.text for party in user_ids(environ) if (found := login_trouble(facts, party))), None)


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


@dataclass(frozen=True)
class Trouble:
    """Why a user cannot log in and count."""

    text: str
    is_refused: bool
    """Whether Redis said no; else it did not answer."""


def login_trouble(facts: Facts, party: str) -> Trouble | None:
    """What keeps `party` from logging in; None when nothing does."""
    import redis  # noqa: PLC0415 - lives in the image; only this broker needs it

    url = facts.broker_url(user=party, given_in=_PASSWORDS[party])
    client = redis.Redis.from_url(url, socket_timeout=ANSWER_WITHIN_S, socket_connect_timeout=ANSWER_WITHIN_S)
    try:
        client.llen("openmwaa")
    except (redis.RedisError, OSError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        refusals = (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError)
        return Trouble(f"{party} cannot log in: {said}", isinstance(error, refusals))
    finally:
        client.close()
    return None


def has_rights(found: str, wanted: str) -> bool:
    """Whether an access string says what is wanted; ElastiCache may write more of it than it was told."""
    return set(wanted.split()) <= set(found.split())


def _prepare(facts: Facts, api: Any, party: str, user_id: str, say: Callable[[str], None]) -> str | None:
    """Bring one user a step further; what is not ready yet, None when all is."""
    trouble = login_trouble(facts, party)
    try:
        user = api.describe_users(UserId=user_id)["Users"][0]
        if user["Status"] != "active":
            return f"{user_id} is {user['Status']}"
        if has_rights(user["AccessString"], RIGHTS[party]):
            if trouble is None:
                return None
            if not trouble.is_refused:
                return trouble.text  # Redis itself is away: another password would not help
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


def _code(error: Exception) -> str:
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code") or type(error).__name__)


def _elasticache() -> Any:
    import boto3  # noqa: PLC0415 - lives in the image

    return boto3.client("elasticache")
