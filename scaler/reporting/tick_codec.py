# SPDX-License-Identifier: Apache-2.0
"""One tick as data: everything `decide` was given and what it said, so that it can be kept and decided again.

`from_json` is the exact inverse of `to_json`. It knows the types of every field and takes nothing else: a field too
many or too few, a word that is none of the allowed ones, and any number that is not finite or is negative are refused,
for nothing in a tick can be that.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from scaler.core.decide import decide
from scaler.core.model import Known, Stale, Unknown
from scaler.core.tick import Tick

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Reader = Callable[[Any], Any]

READINGS: Mapping[str, type] = {"known": Known, "stale": Stale, "unknown": Unknown}
WORDS: Mapping[type, str] = {kind: word for word, kind in READINGS.items()}
PLAIN = frozenset({type(None), bool, int, float, str})


class RecordError(ValueError):
    """What was kept is no tick; the text says where and why."""


def to_json(value: object) -> Json:
    """Return frozen data as JSON-able values; a reading carries its kind, a set is a sorted list."""
    kind = type(value)
    if kind in PLAIN:
        return cast("Json", value)
    if is_dataclass(kind):
        document: dict[str, Json] = {name: to_json(getattr(value, name)) for name in _names(kind)}
        if kind in WORDS:
            document["reading"] = WORDS[kind]
        return document
    if isinstance(value, Mapping):
        return {str(key): to_json(each) for key, each in sorted(value.items())}
    if isinstance(value, frozenset):
        return sorted((to_json(each) for each in value), key=str)
    if isinstance(value, tuple | list):
        return [to_json(each) for each in value]
    raise TypeError(f"{kind.__name__} is no frozen data")


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


def from_json(document: Json) -> Tick:
    """Return the tick that `to_json` was given.

    Raises:
        RecordError: the document is no tick.
    """
    try:
        return cast("Tick", _reader(Tick)(document))
    except RecordError as error:
        raise RecordError(f"no tick: {error}") from error


def replay(tick: Tick) -> tuple[str, ...]:
    """Decide the tick again; return where the decision differs from what was decided then, nothing if it does not."""
    again, _ = decide(tick.fleet, tick.observation, tick.before, tick.now)
    if again == tick.decision:
        return ()
    return tuple(_differences("decision", to_json(tick.decision), to_json(again)))


def _differences(place: str, then: Json, now: Json) -> Iterator[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted(then.keys() | now.keys()):
            yield from _differences(f"{place}.{key}", then.get(key), now.get(key))
    elif then != now:
        yield f"{place}: was {then!r}, is {now!r}"


@cache
def _reader(hint: Any) -> Reader:
    """Return the function that reads values of a type; made once for each."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (int, float):
        return _number_of(hint)
    if hint in (str, bool, type(None)):
        return _exactly(hint)
    if origin is Literal:
        return _one_of(arguments)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            each = _reader(arguments[0])
            return lambda value: tuple([each(part) for part in _list(value)])
        return _pair(tuple(_reader(part) for part in arguments))
    if origin is frozenset:
        part = _reader(arguments[0])
        return lambda value: frozenset([part(each) for each in _list(value)])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        entry = _reader(arguments[1])
        return lambda value: {key: _at(key, entry, each) for key, each in _dict(value).items()}
    return _dataclass(origin or hint, arguments)


def _dataclass(kind: type, arguments: tuple[Any, ...]) -> Reader:
    hints = get_type_hints(kind)
    readers = {
        each.name: _reader(arguments[0] if isinstance(hints[each.name], TypeVar) else hints[each.name])
        for each in fields(kind)
    }
    names = frozenset(readers)

    def read(value: Any) -> Any:
        document = _dict(value)
        if document.keys() != names:
            odd = ", ".join(sorted(document.keys() ^ names))
            raise RecordError(f"{kind.__name__} has not these fields, or lacks them: {odd}")
        values, name = {}, ""
        try:
            for name, reader in readers.items():
                values[name] = reader(document[name])
        except RecordError as error:
            raise RecordError(f"{name}: {error}") from error
        return kind(**values)

    return read


def _union(arguments: tuple[Any, ...]) -> Reader:
    kinds = {(get_origin(each) or each): _reader(each) for each in arguments if each is not type(None)}
    if Known in kinds:

        def reading(value: Any) -> Any:
            document = dict(_dict(value))
            word = document.pop("reading", None)
            kind = READINGS.get(word) if isinstance(word, str) else None
            if kind is None:
                # `None` in place of a reading: there is no such source.
                raise RecordError(f"{word!r} is no kind of reading")
            return kinds[kind](document)

        return _optional(reading) if type(None) in arguments else reading
    (only,) = kinds.values()
    return _optional(only)


def _optional(reader: Reader) -> Reader:
    return lambda value: None if value is None else reader(value)


def _number_of(kind: type) -> Reader:
    def read(value: Any) -> Any:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole and not (kind is float and isinstance(value, float)):
            raise RecordError(f"{value!r} is no {'number' if kind is float else 'whole number'}")
        if not (math.isfinite(value) and value >= 0):
            raise RecordError(f"{value!r} is not a number from 0")
        return value

    return read


def _exactly(kind: type) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, kind):
            raise RecordError(f"{value!r} is no {kind.__name__}")
        return value

    return read


def _one_of(words: tuple[Any, ...]) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, str) or value not in words:
            raise RecordError(f"{value!r} is none of {', '.join(words)}")
        return value

    return read


def _pair(readers: tuple[Reader, ...]) -> Reader:
    def read(value: Any) -> Any:
        parts = _list(value)
        if len(parts) != len(readers):
            raise RecordError(f"{len(parts)} values where {len(readers)} belong")
        return tuple([reader(part) for reader, part in zip(readers, parts, strict=True)])

    return read


def _at(name: str, reader: Reader, value: Any) -> Any:
    try:
        return reader(value)
    except RecordError as error:
        raise RecordError(f"{name}: {error}") from error


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise RecordError(f"{type(value).__name__} where a list belongs")
    return value


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise RecordError(f"{type(value).__name__} where an object belongs")
    return value
