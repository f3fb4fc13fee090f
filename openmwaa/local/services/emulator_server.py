# SPDX-License-Identifier: Apache-2.0
"""Runs ministack, and saves its state while it runs. The emulator's Python runs this file, without openmwaa's packages.

ministack saves its state at a clean stop only, so a killed emulator would lose all logs and messages. Airflow's tasks
wait for a lost message for up to `task_queued_timeout`.

It is also the local issuer of `sts:GetWebIdentityToken`: ministack's own tokens have no key that a server could read.
"""

import json
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from hypercorn.config import Config
from ministack import app
from ministack.core import iam_evaluator, responses
from ministack.services import iam, sts

QUEUES = "sqs"
QUEUES_EVERY_S = 1.0
LOAD = 0.02
"""The share of one CPU for saving everything: a state that takes 0.1 s to save is saved every 5 s."""
KEEP_ALIVE_S = 600.0
"""ministack closes a connection that is idle for 75 s. Terraform keeps one for 90 s, and after the database (75 s on an
idle machine) it sent requests into the close: they were carried out, sent again, and refused as existing."""

States = Mapping[str, Callable[[], Any]]

_load: Callable[[], None] = app._load_persisted_state  # noqa: SLF001
_save: Callable[[States], None] = app.save_all
_saving = threading.Lock()


def save(states: States) -> None:
    """Write the states; one call at a time, because all calls use the same names of temporary files."""
    with _saving:
        _save(states)


def keep_saved() -> None:
    """Save the queues every second, and everything as often as `LOAD` allows."""
    due = 0.0
    while True:
        time.sleep(QUEUES_EVERY_S)
        states: States = app._build_persistence_save_dict()  # noqa: SLF001
        used = time.thread_time()  # of this thread: on a busy machine a save takes longer, and costs the same
        if time.monotonic() >= due:
            save(states)
            due = time.monotonic() + (time.thread_time() - used) / LOAD
        elif QUEUES in states:
            save({QUEUES: states[QUEUES]})


def load() -> None:
    """Load the saved state; nothing is saved before, because that would replace the files by an empty state."""
    _load()
    threading.Thread(target=keep_saved, name="keep saved", daemon=True).start()


_KEY = ec.generate_private_key(ec.SECP384R1())
_KID = uuid.uuid4().hex
"""A new key has a new name, so that no server uses a cached key of an earlier process."""
_TOKEN = re.compile(rb"eyJ[\w-]+\.[\w-]+\.[\w-]+")
_ACTION = "sts:GetWebIdentityToken"
_answer_sts = sts.handle_request
_answer_early = app._handle_pre_body_request  # noqa: SLF001


def issuer_documents() -> dict[str, Mapping[str, Any]]:
    """Return the documents that an issuer of STS publishes, by path."""
    issuer = f"http://{os.environ['BIND_HOST']}:{os.environ['GATEWAY_PORT']}"
    public = jwt.get_algorithm_by_name("ES384").to_jwk(_KEY.public_key(), as_dict=True)
    jwks = "/.well-known/jwks.json"
    discovery = {
        "issuer": issuer,
        "jwks_uri": issuer + jwks,
        "id_token_signing_alg_values_supported": ["ES384"],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
    }
    return {
        "/.well-known/openid-configuration": discovery,
        jwks: {"keys": [{**public, "use": "sig", "alg": "ES384", "kid": _KID}]},
    }


async def answer_early(method: str, path: str, *request: Any) -> Any:
    """Answer with a document of the issuer, else as ministack does."""
    if method == "GET" and path.startswith("/.well-known/") and (document := issuer_documents().get(path)):
        return 200, {"Content-Type": "application/json"}, json.dumps(document).encode()
    return await _answer_early(method, path, *request)


async def answer_sts(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
    """Answer as ministack does, with a signed token of the caller instead of one of the account."""
    status, answer_headers, answer = await _answer_sts(method, path, headers, body, query)
    if not (found := _TOKEN.search(answer)):
        return status, answer_headers, answer
    claims = jwt.decode(found[0], options={"verify_signature": False})
    key_id = app.extract_access_key_id(headers, query) or ""
    caller = iam_evaluator.resolve_principal(key_id, responses.get_account_id())
    subject = _allowed_subject(caller)
    if subject is None or b"SigningAlgorithm=ES384" not in body:
        text = f"The caller may not call {_ACTION}. The local issuer signs with ES384, for users and roles of IAM"
        return iam._error(403, "AccessDenied", text, ns="sts")  # noqa: SLF001
    claims |= {"iss": issuer_documents()["/.well-known/openid-configuration"]["issuer"], "sub": subject}
    claims |= {"jti": str(uuid.uuid4()), "https://sts.amazonaws.com/": {"aws_account": caller.account}}
    token = jwt.encode(claims, _KEY, "ES384", {"kid": _KID}).encode()
    answer = answer.replace(found[0], token)
    return status, {**answer_headers, "Content-Length": str(len(answer))}, answer


def _allowed_subject(caller: Any) -> str | None:
    """The user, or the role without its session, if a policy of it allows the action."""
    if isinstance(caller, iam_evaluator.AuthError) or caller.type not in ("User", "AssumedRole"):
        return None
    context = iam_evaluator.EvalContext(
        principal_arn=caller.arn,
        principal_type=caller.type,
        principal_account=caller.account,
        action=_ACTION,
        resource_arn="*",
        region=responses.get_region(),
    )
    if iam_evaluator.evaluate(context, caller.policies, *caller.limits).decision != "Allow":
        return None
    if caller.type == "User":
        return str(caller.arn)
    role = iam._roles.get_scoped(caller.account, None, caller.arn.split("/")[1])  # noqa: SLF001
    return str(role["Arn"]) if role else None


if __name__ == "__main__":
    Config.keep_alive_timeout = property(lambda _: KEEP_ALIVE_S, lambda _, _value: None)
    app.save_all, app._load_persisted_state = save, load  # noqa: SLF001
    app._handle_pre_body_request, sts.handle_request = answer_early, answer_sts  # noqa: SLF001
    app.main()
