# SPDX-License-Identifier: Apache-2.0
"""MWAA's artefacts: objects of the source bucket that are installed in every component of Airflow."""

from collections.abc import Mapping
from typing import Final, NamedTuple, Self

from pydantic import model_validator

from openmwaa.config.strict_model import FieldError, StrictModel
from openmwaa.config.text_rules import ObjectKey, ObjectVersion

KINDS: Final = ("requirements", "plugins", "startup_script")
OWN_FOLDER: Final = "openmwaa"
"""The folder of the source bucket for installed requirements."""


class Artefact(NamedTuple):
    """An object of the source bucket; without a version, the newest one at each plan."""

    path: str
    version: str | None


class ArtefactFields(StrictModel):
    """The fields of an environment for its artefacts; a change is a rolling change of all components."""

    requirements_s3_path: ObjectKey | None = None
    """The key of a requirements.txt in the source bucket."""
    requirements_s3_object_version: ObjectVersion | None = None
    """Its version in S3; left out, the newest at each plan."""
    plugins_s3_path: ObjectKey | None = None
    """The key of a plugins.zip in the source bucket."""
    plugins_s3_object_version: ObjectVersion | None = None
    """Its version in S3; left out, the newest at each plan."""
    startup_script_s3_path: ObjectKey | None = None
    """The key of a shell script in the source bucket that runs before each component of Airflow."""
    startup_script_s3_object_version: ObjectVersion | None = None
    """Its version in S3; left out, the newest at each plan."""

    @property
    def artefacts(self) -> Mapping[str, Artefact]:
        """The artefacts of the environment by kind."""
        fields = {
            kind: (getattr(self, f"{kind}_s3_path"), getattr(self, f"{kind}_s3_object_version")) for kind in KINDS
        }
        return {kind: Artefact(path, version) for kind, (path, version) in fields.items() if path is not None}

    @model_validator(mode="after")
    def _versions_have_paths(self) -> Self:
        for kind in KINDS:
            version = f"{kind}_s3_object_version"
            if getattr(self, version) is not None and kind not in self.artefacts:
                raise FieldError(f"is a version of no object: set `{kind}_s3_path` too, or leave this out", version)
        return self
