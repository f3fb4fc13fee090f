# SPDX-License-Identifier: Apache-2.0
"""Checks that every package index takes its login, before uv reads it.

With a strategy that uses several indexes, uv treats an index that answers 401 as one without the package, and takes the
package of that name from the next index. So a stale password would install a stranger's package.
"""

import base64
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from urllib.parse import unquote, urlsplit, urlunsplit

from openmwaa_runtime.artefacts.requirements_file import RequirementsFile, redacted
from openmwaa_runtime.errors import StartupError

ANSWERED_WITHIN_S = 15.0
_OPTIONS = ("--index-url", "--extra-index-url")
_NAME = re.compile(r"^[\w-]+=")  # uv also reads NAME=ADDRESS
_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX")


class IndexLoginError(StartupError):
    """An index refuses the user and password of its address, or needs one."""

    exit_status = 3


def check_logins(file: RequirementsFile, environ: Mapping[str, str]) -> None:
    """Call each index of the file and of the variables once; any other answer than 401 is left to uv.

    Raises:
        IndexLoginError: an index answers 401.
    """
    for address in dict.fromkeys(_addresses(file, environ)):
        parts = urlsplit(address)
        plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        request = urllib.request.Request(f"{plain.rstrip('/')}/", method="HEAD")
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            request.add_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
        if _status(request) == HTTPStatus.UNAUTHORIZED:
            raise IndexLoginError(
                f"{redacted(address)} answers 401: the user or the password of this index is wrong or missing. "
                "Without it, packages of the same names would come from another index"
            )


def _status(request: urllib.request.Request) -> int | None:
    try:
        with urllib.request.urlopen(request, timeout=ANSWERED_WITHIN_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, ValueError, http.client.HTTPException):  # uv reports these
        return None


def _addresses(file: RequirementsFile, environ: Mapping[str, str]) -> Iterator[str]:
    variables = file.variables(environ)
    words = [value for name, _, value in (option.partition(" ") for option in file.options) if name in _OPTIONS]
    words += [word for name in _VARIABLES for word in variables.get(name, "").split()]
    for word in words:
        if (address := _NAME.sub("", word.strip())).startswith(("http://", "https://")):
            yield address
