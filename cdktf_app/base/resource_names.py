# SPDX-License-Identifier: Apache-2.0
"""Names of AWS resources, made from an environment's name within the limits of each service.

As in MWAA, an environment's name may have 80 characters, capitals and underscores; a load balancer's name has at most
32 lower-case characters. A changed name ends in six hexadecimal digits of the SHA-256 of the full name, so that two
environments never share a resource.
"""

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
_INTERPOLATION: Final = "${"  # in the name of a module, which is a variable


def truncate_with_hash(text: str, *, limit: int) -> str:
    """Return `text`; if it is longer than `limit`, shorten it and append a digest."""
    if _INTERPOLATION in text:
        return _deferred(text, "whole", limit, word="in")
    return text if len(text) <= limit else _with_digest(text, text, limit)


def host_name(text: str, *, limit: int) -> str:
    """Return `text` in lower-case letters, digits and single hyphens, as S3, RDS and load balancers require."""
    if _INTERPOLATION in text:
        return _deferred(text, 'trim(replace(lower(whole), "/[^a-z0-9]+/", "-"), "-")', limit, word="as_host_in")
    plain = re.sub(r"-+", "-", re.sub(r"[^a-z0-9]", "-", text.lower())).strip("-")
    return plain if plain == text and len(text) <= limit else _with_digest(plain, text, limit)


def iam_name(text: str, *, limit: int) -> str:
    """Return `text` in lower case and within `limit`: IAM role names are unique regardless of case."""
    if _INTERPOLATION in text:
        return _deferred(text, "lower(whole)", limit, word="caseless_in")
    plain = text.lower()
    return plain if plain == text and len(text) <= limit else _with_digest(plain, text, limit)


def collision_free(word: str, reserved: Container[str] = ()) -> str:
    """Return the user's `word`, changed if NAME-WORD could be a name of another environment.

    Queue `b-c` of environment `a` and queue `c` of environment `a-b` would have the same name. A word with a hyphen, or
    one of `reserved`, gets a digest of itself.
    """
    return _with_digest(word, word, len(word) + _DIGITS + 1) if "-" in word or word in reserved else word


def escape_template(text: str) -> str:
    """Return the user's `text` with `${` and `%{` escaped, so that Terraform does not evaluate them."""
    if isinstance(text, TextExpression):
        return text
    return text.replace("${", "$${").replace("%{", "%%{")


def _with_digest(text: str, whole: str, limit: int) -> str:
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_DIGITS]
    return f"{text[: limit - _DIGITS - 1].rstrip('-')}-{digest}"


@contextmanager
def deferred_names() -> Iterator[Mapping[str, str]]:
    """Collect the local values that the functions above add in the body, for names that Terraform computes."""
    names: dict[str, str] = {}
    token = _deferred_names.set(names)
    try:
        yield names
    finally:
        _deferred_names.reset(token)


def _deferred(text: str, plain: str, limit: int, *, word: str) -> str:
    """Return a reference to a local value that computes the name in HCL; a loop over one item replaces `let`."""
    shortened = f'replace(substr(plain, 0, {limit - _DIGITS - 1}), "/-+$/", "")'
    digest = f"substr(sha256(whole), 0, {_DIGITS})"
    chosen = f'plain == whole && length(plain) <= {limit} ? plain : "${{{shortened}}}-${{{digest}}}"'
    expression = f'${{[for whole in ["{text}"] : [for plain in [{plain}] : {chosen}][0]][0]}}'
    words = re.sub(r"\W+", "_", re.sub(r"\$\{(var\.|local\.|[^}]*\.)?(\w+)\}", r"\2", text)).strip("_")
    name = f"{words}_{word}_{limit}"
    _deferred_names.get()[name] = expression
    return f"${{local.{name}}}"
