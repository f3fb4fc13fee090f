# SPDX-License-Identifier: Apache-2.0
"""The options that one Airflow version and its providers know, and what is wrong with an option of the file.

`tools/airflow_schema.py` writes the data from the locked Airflow.
"""

import difflib
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from pydantic import ValidationError

from openmwaa.config.airflow_options import REFUSED, advice
from openmwaa.config.strict_model import FieldError

OWN_SECTION: Final = "for options of your own, use a section that Airflow does not have, such as `my_team`"
# Airflow hands every key of these sections on, to Celery, Sentry or a search client.
_OPEN_SECTIONS: Final = frozenset(
    {
        *("celery_broker_transport_options", "celery_result_backend_transport_options"),
        *("elasticsearch_configs", "opensearch_configs", "sentry"),
    }
)
# Of Airflow itself, and not of a provider that an image may add; a version may lack them.
_AIRFLOW_SECTIONS: Final = frozenset(
    {
        *("api_auth", "callbacks", "connection_test", "dag_processor", "execution_api", "profiling", "sdk"),
        *("state_store", "workers"),
    }
)
_OWN_OPTIONS: Final = frozenset({"openmwaa.lost_worker_retries"})
# An argument of a secrets backend in an option of its own.
_ARGUMENTS: Final = ("secrets.backend_kwarg__", "workers.secrets_backend_kwarg__")
_BOOLEANS: Final = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}
_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    "boolean": lambda text: _BOOLEANS[text.lower()],
    "integer": int,
    "float": float,
}
_WORDS: Final = {"boolean": "True or False", "integer": "a whole number", "float": "a number"}
_NEAR: Final = 0.8


@dataclass(frozen=True)
class AirflowSchema:
    """The options of one version."""

    version: str
    sections: Mapping[str, Mapping[str, str | list[str]]]
    """Section -> option -> type, or the list of values."""
    sensitive: frozenset[str]
    """Options that also exist with `_cmd` and `_secret`."""
    changed: Mapping[str, Mapping[str, str]]
    """Options of earlier versions: the new name, or advice after a removal."""

    @classmethod
    @functools.cache
    def of(cls, version: str) -> "AirflowSchema":
        """Return the schema of a supported version."""
        data = json.loads(files("openmwaa.config").joinpath("schemas", f"airflow-{version}.json").read_text("utf-8"))
        return cls(version, data["sections"], frozenset(data["sensitive"]), data["changed"])

    def problem(self, option: str, value: str) -> str | None:
        """Return what is wrong with an option; None if nothing is, or if only the user's code reads it."""
        base = option.removesuffix("_cmd").removesuffix("_secret")
        section, _, key = option.rpartition(".")
        if base != option and base in self.sensitive:
            return None
        if option in self.changed:
            return self._changed(option)
        if (known := self.sections.get(section, {}).get(key)) is not None:
            return _wrong_value(known, value)
        if section in _OPEN_SECTIONS or option in _OWN_OPTIONS or option.startswith(_ARGUMENTS):
            return None
        if section in self._every_section:
            return self._unknown_option(section, key)
        return self._misspelt_section(section, key)

    @functools.cached_property
    def _every_section(self) -> frozenset[str]:
        changed = (option.rpartition(".")[0] for option in self.changed)
        return frozenset({*self.sections, *changed, *_AIRFLOW_SECTIONS, "openmwaa"})

    def _changed(self, option: str) -> str:
        new, hint = option, ""
        while change := self.changed.get(new):
            new, hint = change.get("renamed", ""), change.get("removed", "")
        if not new:
            return f"does not exist in Airflow {self.version}{f': {hint}' if hint else '; remove it'}"
        section, _, key = new.rpartition(".")
        if new in REFUSED:
            return f"is `{new}` in Airflow {self.version}, and openmwaa sets that option: {advice(new)}"
        if key not in self.sections.get(section, {}):
            return f"is `{new}` in Airflow {self.version}, of a provider that the image does not have"
        return f"is `{new}` in Airflow {self.version}; write that name"

    def _unknown_option(self, section: str, key: str) -> str:
        elsewhere = [f"{name}.{key}" for name, options in self.sections.items() if key in options]
        near = [f"{section}.{name}" for name in difflib.get_close_matches(key, self.sections.get(section, {}), n=1)]
        found = (elsewhere or near)[:1]
        hint = f"; did you mean `{found[0]}`?" if found else "."
        return f"is no option of Airflow {self.version}{hint} {OWN_SECTION[0].upper()}{OWN_SECTION[1:]}"

    def _misspelt_section(self, section: str, key: str) -> str | None:
        """Return the section that was meant. A section of the user is recognised by options that Airflow lacks."""
        near = difflib.get_close_matches(section, self.sections, n=1, cutoff=_NEAR)
        if near and key in self.sections[near[0]]:
            return f"is no option of Airflow {self.version}; did you mean `{near[0]}.{key}`?"
        return None


def check_known(options: Mapping[str, str], version: str) -> None:
    """Raise all problems at once, each at its option: a file for an earlier version may have many."""
    schema = AirflowSchema.of(version)
    # `check_options` refuses the others.
    found = {option: schema.problem(option, value) for option, value in options.items() if option not in REFUSED}
    if problems := {option: problem for option, problem in found.items() if problem}:
        raise ValidationError.from_exception_data(
            "airflow_configuration_options",
            [
                {"type": "value_error", "loc": (option,), "input": option, "ctx": {"error": FieldError(problem)}}
                for option, problem in problems.items()
            ],
        )


def _wrong_value(known: str | list[str], value: str) -> str | None:
    if isinstance(known, list):
        return None if value in known else f"is {value!r}; it must be one of {', '.join(filter(None, known))}"
    reads = _READERS.get(known)
    # Airflow removes comments of booleans and numbers.
    if reads is None or _can(reads, value.partition("#")[0].strip()):
        return None
    return f"is {value!r}; it must be {_WORDS[known]}"


def _can(reads: Callable[[str], object], text: str) -> bool:
    try:
        reads(text)
    except (ValueError, KeyError):
        return False
    return True
