# SPDX-License-Identifier: Apache-2.0
"""The digests of the images in the stack's own repositories, in `images.json` beside the Terraform of the environment.

`deploy` writes the file after a push. `plan` and `synth` read it too, so all of them make the same Terraform.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import StringConstraints, TypeAdapter, ValidationError

from openmwaa.config.environment import Environment
from openmwaa.errors import OpenmwaaError

FILE: Final = "images.json"
ImageKind = Literal["airflow", "scaler"]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
_NAME: Final = "images_"


def own_repositories(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the addresses of the repositories that a stack makes for its images, by image."""
    names = document["resource"].get("aws_ecr_repository", {})
    return {name.removeprefix(_NAME): f"aws_ecr_repository.{name}" for name in names}


def targets(addresses: Iterable[str]) -> list[str]:
    """Return the options of Terraform for these resources alone."""
    return [f"-target={address}" for address in addresses]


def with_pushed_images(environment: Environment, terraform_dir: Path) -> Environment:
    """Return the environment with the digests of the file; images and tags of the environment's own file stay.

    Raises:
        OpenmwaaError: the file is not as `write` writes it.
    """
    file = terraform_dir / environment.name / FILE
    try:
        digests = TypeAdapter(dict[ImageKind, Digest]).validate_json(file.read_bytes())
    except FileNotFoundError:
        return environment
    except ValidationError as error:
        raise OpenmwaaError(f"{file} is damaged; delete it, and `openmwaa deploy` writes it again: {error}") from error
    return with_tags(environment, digests)


def with_tags(environment: Environment, tags: Mapping[Any, str]) -> Environment:
    """Return the environment with these tags or digests for images without a tag of their own."""
    images = environment.images
    own = {
        f"{kind}_tag": tag
        for kind, tag in tags.items()
        if getattr(images, kind) is None and getattr(images, f"{kind}_tag") is None
    }
    return environment.model_copy(update={"images": images.model_copy(update=own)})


def write(folder: Path, digests: Mapping[str, str]) -> None:
    """Keep the digests in the folder of the environment's Terraform."""
    (folder / FILE).write_text(json.dumps(digests, indent=2, sort_keys=True) + "\n", encoding="utf-8")
