# SPDX-License-Identifier: Apache-2.0
"""The container images: tags in the stack's own repositories, or references of other images."""

from typing import Annotated, Final, Self

from pydantic import model_validator

from openmwaa.config.strict_model import FieldError, StrictModel
from openmwaa.config.text_rules import text

ImageTag = Annotated[
    str,
    text(
        r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$",
        "a tag: letters, digits, `_`, `.` and `-`, at most 128",
        "OCI distribution specification, tag",
    ),
]
ImageReference = Annotated[
    str,
    text(
        r"^[A-Za-z0-9][A-Za-z0-9._-]*([/:@][A-Za-z0-9._-]+)*$",
        "an image's reference without scheme, such as registry.example.com/airflow:1",
        "ecs ContainerDefinition image",
        max_length=255,
    ),
]
SCALER_VERSION: Final = "0.1.0"


class Images(StrictModel):
    """Your own images, with digest or immutable tag; left out, the stack's ECR repositories are used."""

    airflow: ImageReference | None = None
    scaler: ImageReference | None = None
    airflow_tag: ImageTag | None = None
    """The tag in the stack's own repository; left out, Airflow's version. Tags are immutable: a changed image needs a
    new tag."""
    scaler_tag: ImageTag | None = None
    """The tag of the scaler's image; left out, openmwaa's version."""

    @model_validator(mode="after")
    def _tags_are_of_the_own_repositories(self) -> Self:
        for image in ("airflow", "scaler"):
            if getattr(self, image) is not None and getattr(self, f"{image}_tag") is not None:
                raise FieldError(
                    f"`{image}_tag` is for the stack's own repository; put the tag into `{image}`", f"{image}_tag"
                )
        return self
