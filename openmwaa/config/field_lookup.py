# SPDX-License-Identifier: Apache-2.0
"""Finds the model that a field of the file belongs to, by walking the types: for errors that name what is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from openmwaa.config.environment import Environment

Location = tuple[int | str, ...]
"""A place in the file: keys of mappings, and places in lists counted from 0."""


def model_of(at: Location) -> type[BaseModel]:
    """Return the model that the field at `at` is one of; `Environment` where nothing nearer is known."""
    models: tuple[type[BaseModel], ...] = (Environment,)
    best: tuple[type[BaseModel], ...] = models
    types: list[Any] = []
    for part in at[:-1]:
        if types and not models:
            # Within a list or a mapping whose keys are the user's own.
            types = [argument for one in types for argument in get_args(one)[-2:] if argument is not Ellipsis]
        else:
            types = [annotation for model in models if (annotation := _annotation(model, str(part))) is not None]
        models = tuple(found for one in types for found in _models(one))
        if models:
            best = models
    return best[0]


def without_tags(at: Location) -> Location:
    """Return `at` without the words by which pydantic tells one kind of a part from another."""
    tags = {tag for model in _everywhere(Environment, set()) for tag in _kinds(model)}
    return tuple(part for part in at if part not in tags)


def _annotation(model: type[BaseModel], key: str) -> Any:
    for name, field in model.model_fields.items():
        if (field.alias or name) == key:
            return field.annotation
    return None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that `annotation` may be, not those within a list or a mapping of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) not in (tuple, dict, list):
        for argument in get_args(annotation):
            yield from _models(argument)


def _kinds(model: type[BaseModel]) -> tuple[str, ...]:
    kind = model.model_fields.get("kind")
    return tuple(get_args(kind.annotation)) if kind is not None else ()


def _everywhere(annotation: Any, seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation not in seen:
            seen.add(annotation)
            for field in annotation.model_fields.values():
                _everywhere(field.annotation, seen)
    else:
        for argument in get_args(annotation):
            _everywhere(argument, seen)
    return seen
