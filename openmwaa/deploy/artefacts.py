# SPDX-License-Identifier: Apache-2.0
"""Checks the artefacts before an apply: each object exists, and the requirements fit the image."""

import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from openmwaa.deploy import requirements
from openmwaa.deploy.steps import DeployError, StepRunner, find
from openmwaa.local.errors import LocalError
from openmwaa.operate.connection import aws_errors
from openmwaa_runtime.artefacts.plugins import unpack
from openmwaa_runtime.artefacts.requirements_file import PLUGINS_OF_MWAA
from openmwaa_runtime.errors import StartupError

BUCKET: Final = ("aws_s3_bucket.storage", "aws_s3_bucket_versioning.storage")
"""The stack's own bucket, which must exist before the objects can."""


def check(run: StepRunner, details: dict[str, Any]) -> None:
    """Check all artefacts of the environment.

    Raises:
        DeployError: an object is missing, or the requirements do not fit.
    """
    environment, objects = run.environment, {}
    own = find(run.state(), *BUCKET[0].split("."))
    bucket = environment.source_bucket or (str(own[0].values["bucket"]) if own else None)
    if bucket is None:
        run.note("not checked: the bucket is to be made")
        return
    for kind, artefact in environment.artefacts.items():
        version = {"VersionId": artefact.version} if artefact.version else {}
        objects[kind] = {"Bucket": bucket, "Key": artefact.path, **version}
    heads = {kind: _read(run, "head_object", found) for kind, found in objects.items()}
    if missing := [kind for kind, head in heads.items() if head is None]:
        commands = [
            shlex.join(("aws", "s3", "cp", Path(found["Key"]).name, f"s3://{bucket}/{found['Key']}"))
            for found in (objects[kind] for kind in missing)
        ]
        names = ", ".join(f"`{kind}_s3_path`" for kind in missing)
        raise DeployError("\n".join((f"There is no object of {names}. Upload it, and repeat the command:", *commands)))
    if empty := next((kind for kind, head in heads.items() if not head["ContentLength"]), None):
        raise DeployError(
            f"The object of `{empty}_s3_path` is empty, so Terraform cannot read it. Leave the field out."
        )
    if "requirements" not in objects:
        return
    text = _read(run, "get_object", objects["requirements"])["Body"].read().decode("utf-8", "replace")
    try:
        with _plugins(run, objects.get("plugins"), text) as plugins:
            result = requirements.check(
                text,
                airflow_version=environment.airflow_version,
                architectures=environment.architectures,
                plugins=plugins,
            )
    except (requirements.RequirementsCheckError, StartupError, LocalError) as error:
        run.note(f"requirements not checked here: {error}")
        return
    details["requirements"] = result.as_data()
    if not result.fits:
        raise DeployError("\n".join(result.sentences()))
    for sentence in result.sentences():
        run.note(sentence)


@contextmanager
def _plugins(run: StepRunner, found: dict[str, str] | None, text: str) -> Iterator[Path | None]:
    """Unpack plugins.zip if the requirements refer to its folder."""
    if found is None or PLUGINS_OF_MWAA not in text:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="openmwaa-plugins-") as name:
        archive = Path(name, "plugins.zip")
        archive.write_bytes(_read(run, "get_object", found)["Body"].read())
        unpack(archive, Path(name))
        yield Path(name)


def _read(run: StepRunner, call: str, found: dict[str, str]) -> Any:
    """Call S3 for an object; return None if it does not exist."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - boto3 is an extra

    with aws_errors(run.connection, "s3:GetObject", f"s3://{found['Bucket']}/{found['Key']}"):
        try:
            return getattr(run.connection.client("s3"), call)(**found)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in {"404", "NoSuchKey", "NoSuchVersion", "NotFound"}:
                return None
            raise
