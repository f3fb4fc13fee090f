# SPDX-License-Identifier: Apache-2.0
"""Names of AWS resources: an environment's name made to fit what each service accepts.

An environment's name may have 80 characters, capitals and underscores, as in MWAA; a load balancer's has 32 and none of
these. A name that has to be changed ends in six hexadecimal digits of the whole one's SHA-256, so that two environments
whose names differ only in what a service drops never share a resource.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from cdktf_app.base.expressions import TextExpression

PREFIX: Final = "openmwaa"
_DIGITS: Final = 6
_deferred_names: ContextVar[dict[str, str]] = ContextVar("later_names")
_INTERPOLATION: Final = "${"  # an environment's name has no such thing; a module's is a variable


def truncate_with_hash(text: str, *, limit: int) -> str:
    """Return `text`, shortened to `limit` characters with a digest at its end when it is longer."""
    if _INTERPOLATION in text:
        return _deferred(text, "whole", limit, word="in")
    return text if len(text) <= limit else _with_digest(text, text, limit)


def host_name(text: str, *, limit: int) -> str:
    """Return `text` in lower-case letters, digits and single hyphens, as S3, RDS and load balancers want it."""
    if _INTERPOLATION in text:
        return _deferred(text, 'trim(replace(lower(whole), "/[^a-z0-9]+/", "-"), "-")', limit, word="as_host_in")
    plain = re.sub(r"-+", "-", re.sub(r"[^a-z0-9]", "-", text.lower())).strip("-")
    return plain if plain == text and len(text) <= limit else _with_digest(plain, text, limit)


def iam_name(text: str, *, limit: int) -> str:
    """Return `text` fitted to `limit`, in lower case: IAM does not tell `Data` from `data`."""
    if _INTERPOLATION in text:
        return _deferred(text, "lower(whole)", limit, word="caseless_in")
    plain = text.lower()
    return plain if plain == text and len(text) <= limit else _with_digest(plain, text, limit)


def collision_free(word: str, reserved: Container[str] = ()) -> str:
    """Return the user's `word` so that NAME-WORD is no name of another environment.

    Queue `b-c` of the environment `a` and queue `c` of `a-b` would have one name; so would the user's word and one of
    `reserved`. Such a word ends in a digest of itself.
    """
    return _with_digest(word, word, len(word) + _DIGITS + 1) if "-" in word or word in reserved else word


def escape_template(text: str) -> str:
    """Return the user's `text` so that Terraform takes `${` and `%{` in it as they stand, not as its own templates."""
    if isinstance(text, TextExpression):
        return text
    return text.replace("${", "$${").replace("%{", "%%{")


def _with_digest(text: str, whole: str, limit: int) -> str:
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_DIGITS]
    return f"{text[: limit - _DIGITS - 1].rstrip('-')}-{digest}"


@contextmanager
def deferred_names() -> Iterator[Mapping[str, str]]:
    """Collect the local values that the functions above need: names that only Terraform knows."""
    asked: dict[str, str] = {}
    token = _deferred_names.set(asked)
    try:
        yield asked
    finally:
        _deferred_names.reset(token)


def _deferred(text: str, plain: str, limit: int, *, word: str) -> str:
    """Return a reference to the local value that does the same as an expression; HCL's `let` is a loop over one."""
    shortened = f'replace(substr(plain, 0, {limit - _DIGITS - 1}), "/-+$/", "")'
    digest = f"substr(sha256(whole), 0, {_DIGITS})"
    chosen = f'plain == whole && length(plain) <= {limit} ? plain : "${{{shortened}}}-${{{digest}}}"'
    expression = f'${{[for whole in ["{text}"] : [for plain in [{plain}] : {chosen}][0]][0]}}'
    words = re.sub(r"\W+", "_", re.sub(r"\$\{(var\.|local\.|[^}]*\.)?(\w+)\}", r"\2", text)).strip("_")
    name = f"{words}_{word}_{limit}"
    _deferred_names.get()[name] = expression
    return f"${{local.{name}}}"
