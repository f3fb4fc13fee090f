# SPDX-License-Identifier: Apache-2.0
"""Finds the pydantic model of a field in the file, so that errors can list the known fields."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from openmwaa.config.environment import Environment
from openmwaa.config.yaml_reader import Location


def model_of(at: Location) -> type[BaseModel]:
    """Return the model that contains the field `at`; `Environment` if no closer one is found."""
    models: tuple[type[BaseModel], ...] = (Environment,)
    best: tuple[type[BaseModel], ...] = models
    types: list[Any] = []
    for part in at[:-1]:
        if types and not models:
            # In a list, or in a mapping with keys of the user.
            types = [item for annotation in types for item in get_args(annotation)[-2:] if item is not Ellipsis]
        else:
            types = [annotation for model in models if (annotation := _annotation(model, str(part))) is not None]
        models = tuple(model for annotation in types for model in _models(annotation))
        if models:
            best = models
    return best[0]


def without_tags(at: Location) -> Location:
    """Return `at` without the discriminator value (`kind`) that pydantic inserts after the name of a field."""
    field = Environment.model_fields.get(str(at[0])) if at else None
    return (at[0], *at[2:]) if field and field.discriminator else at


def _annotation(model: type[BaseModel], key: str) -> Any:
    for name, field in model.model_fields.items():
        if (field.alias or name) == key:
            return field.annotation
    return None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models of `annotation`, without those inside its lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) not in (tuple, dict, list):
        for argument in get_args(annotation):
            yield from _models(argument)
