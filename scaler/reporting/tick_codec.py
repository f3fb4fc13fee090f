# SPDX-License-Identifier: Apache-2.0
"""One tick as JSON, so that it can be kept and decided again.

`from_json` is the exact inverse of `to_json`. It refuses a missing or unknown field, a wrong type or word, and a
number that is negative or not finite: no value of a tick can be one.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import SchemaValidator
from pydantic_core import to_json as dump

from scaler.core.decide import decide
from scaler.core.tick import Tick

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def _complete(schema: Any) -> Any:
    """Return pydantic's schema without default values (every field must be there) and with numbers from 0 only."""
    if isinstance(schema, list):
        return [_complete(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "default":
        return _complete(schema["schema"])
    lower = {"ge": 0} if schema.get("type") in {"int", "float"} else {}
    return {key: _complete(part) for key, part in schema.items()} | lower


# pydantic takes no configuration beside a dataclass itself; it takes it beside a list and applies it to the parts.
_TICKS = TypeAdapter(list[Tick], config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
_VALIDATOR = SchemaValidator(_complete(_TICKS.core_schema))


class RecordError(ValueError):
    """The document is not a tick; the text names the fields and the reasons."""


def to_json(tick: Tick) -> Json:
    """Return a tick as JSON-able values."""
    return cast("Json", _TICKS.dump_python([tick], mode="json")[0])


def from_json(document: Json) -> Tick:
    """Return the tick that `to_json` was given; raise RecordError for any other document."""
    try:
        return cast("Tick", _VALIDATOR.validate_json(dump([document], inf_nan_mode="constants"))[0])
    except ValidationError as error:
        wrong = (
            f"{'.'.join(map(str, problem['loc'][1:]))}: {problem['msg']}" for problem in error.errors(include_url=False)
        )
        raise RecordError("; ".join(wrong)) from error


def replay(tick: Tick) -> tuple[str, ...]:
    """Decide the tick again; return where the decision differs from the recorded one."""
    again, _ = decide(tick.fleet, tick.observation, tick.before, tick.now)
    if again == tick.decision:
        return ()
    then, now = _TICKS.dump_python([tick, replace(tick, decision=again)], mode="json")
    return tuple(_differences("decision", then["decision"], now["decision"]))


def _differences(place: str, then: Json, now: Json) -> Iterator[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted(then.keys() | now.keys()):
            yield from _differences(f"{place}.{key}", then.get(key), now.get(key))
    elif then != now:
        yield f"{place}: was {then!r}, is {now!r}"
