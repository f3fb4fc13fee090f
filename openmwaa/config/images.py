# SPDX-License-Identifier: Apache-2.0
"""The container images: tags in the stack's own repositories, or references of other images."""

from pathlib import PurePosixPath
from typing import Final, Self

from pydantic import model_validator

from openmwaa.config.strict_model import FieldError, StrictModel
from openmwaa.config.text_rules import ImageReference, ImageTag

SCALER_VERSION: Final = "0.1.0"


class Images(StrictModel):
    """Your own images, with digest or immutable tag; left out, the stack's ECR repositories are used."""

    airflow: ImageReference | None = None
    scaler: ImageReference | None = None
    airflow_dockerfile: str | None = None
    """A Dockerfile of yours with `ARG BASE_IMAGE` and `FROM ${BASE_IMAGE}`, in a folder beside the file, such as
    `image/Dockerfile`. `openmwaa deploy` builds it on top of Airflow's image, with the folder as its context."""
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

    @model_validator(mode="after")
    def _the_dockerfile_has_a_folder(self) -> Self:
        path = PurePosixPath(self.airflow_dockerfile or "image/Dockerfile")
        if path.is_absolute() or ".." in path.parts or len(path.parts) == 1:
            raise FieldError(
                "its folder is the build context: write a path below the file's folder, such as `image/Dockerfile`",
                "airflow_dockerfile",
            )
        if self.airflow_dockerfile and self.airflow:
            raise FieldError("leave this out, or `airflow`: that image is built already", "airflow_dockerfile")
        return self
