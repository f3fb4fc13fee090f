# SPDX-License-Identifier: Apache-2.0
"""One tick as data: everything `decide` was given and what it said, so that it can be kept and decided again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass

from scaler.core.model import Fleet, Known, Observation, Stale, Unknown
from scaler.core.state import Decision, State

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Tick:
    """The input of one `decide` and its decision."""

    fleet: Fleet
    observation: Observation
    before: State
    now: float
    decision: Decision


def to_json(value: object) -> Json:
    """Return frozen data as JSON-able values; a reading carries its kind, a set is a sorted list."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_dataclass(value):
        document: dict[str, Json] = {each.name: to_json(getattr(value, each.name)) for each in fields(value)}
        if isinstance(value, Known | Stale | Unknown):
            document["reading"] = type(value).__name__.lower()
        return document
    if isinstance(value, Mapping):
        return {str(key): to_json(each) for key, each in sorted(value.items())}
    if isinstance(value, frozenset):
        return sorted((to_json(each) for each in value), key=str)
    if isinstance(value, tuple | list):
        return [to_json(each) for each in value]
    raise TypeError(f"{type(value).__name__} is no frozen data")
