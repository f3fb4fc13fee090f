# SPDX-License-Identifier: Apache-2.0
"""The steps of `openmwaa deploy`, from a file and credentials to a running environment.

Each step first reads what exists and does only what is missing, so that the command continues when it is repeated.
"""

import base64
import difflib
import shlex
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from platform import machine
from typing import Any

from openmwaa.config.environment import Environment
from openmwaa.config.images import SCALER_VERSION
from openmwaa.deploy import artefacts, image_context, pushed_images, quotas
from openmwaa.deploy.builders import PLATFORMS, BuilderName, BuildError, find_builder
from openmwaa.deploy.steps import DeployError, StepRunner, find
from openmwaa.operate.connection import aws_errors
from openmwaa.operate.waiting import WaitStatus
from openmwaa.plan import render
from openmwaa.plan.changes import TerraformPlan
from openmwaa.plan.review import review, with_cost
from openmwaa.plan.verdict import Verdict

_MISSING_IMAGE = {"ImageNotFoundException", "RepositoryNotFoundException"}


@dataclass(frozen=True)
class DeployOptions:
    """The options of the command."""

    plan_only: bool = False
    skip_quotas: bool = False
    builder: BuilderName | None = None
    approved: str | None = None
    """The Markdown of the only plan that may be applied."""


def deploy(run: StepRunner, options: DeployOptions, wait: Callable[[], WaitStatus]) -> Verdict | None:
    """Do all steps; `run.report` has the outcome. Return the verdict of the plan; None before it.

    Raises:
        OpenmwaaError: a step failed; a repeated call continues.
    """
    with run.step("prerequisites") as details:
        run.check_programs()
        environment = pushed_images.with_pushed_images(run.environment, run.terraform_dir)
        document = run.synth(environment)
        state = run.open_state()
        _check_quotas(run, options, document, state, details)
    images = pushed_images.own_repositories(document)
    with run.step("repositories"):
        if not _repositories(run, options, images, state):
            return None
    if run.environment.artefacts:
        with run.step("artefacts") as details:
            artefacts.check(run, details)
    with run.step("images") as details:
        details["images"] = _images(run, options, images)
        environment = pushed_images.with_tags(run.environment, details["images"])
    with run.step("plan") as details:
        document = run.synth(environment)
        verdict = review(run.terraform, environment) if options.plan_only else run.review(environment)
        verdict, cost = with_cost(verdict, document, environment.region)
        details["plan"] = {**render.document(environment.name, verdict, plan_file=None), "cost": cost and vars(cost)}
        run.say(render.text(environment.name, verdict))
        if not _accepted(run, options, verdict):
            run.terraform.delete()
            return verdict
    with run.step("apply"):
        run.hold_awake(state, "deploy")
        if verdict.outcome == "changed":
            run.apply(verdict)
    with run.step("wait") as details:
        status = wait()
        for line in status.failures or (f"not in time: {line}" for line in status.awaited):
            run.note(line)
        details |= {"wait": {"awaited": status.awaited, "failures": status.failures, **status.data}, **_access(run)}
        run.report.outcome = status.outcome
        run.release("deploy")
    return verdict


def _check_quotas(
    run: StepRunner, options: DeployOptions, document: Mapping[str, Any], state: TerraformPlan, details: dict[str, Any]
) -> None:
    if options.skip_quotas:
        return
    needed = quotas.added(run.environment, document, state.before)
    found = [quotas.read(run.connection, quota, datetime.now(UTC)) for quota in needed]
    details["quotas"] = [quota.as_data() for quota in found]
    sentences = [sentence for quota in found for sentence in quota.sentences(run.environment.region)]
    for sentence in (*sentences, *quotas.missing_roles(run.connection, document)):
        run.note(sentence)
    if short := [quota.name for quota in found if quota.short]:
        raise DeployError(
            f"The account's quotas are too low: {', '.join(short)}. The commands above ask AWS for more. "
            "--skip-quotas continues without this check."
        )


def _repositories(run: StepRunner, options: DeployOptions, images: Mapping[str, str], state: TerraformPlan) -> bool:
    """Make the missing repositories, and the bucket of artefacts; return False if the user declines."""
    bucket = artefacts.BUCKET if run.environment.artefacts and run.environment.source_bucket is None else ()
    missing = [address for address in (*images.values(), *bucket) if not find(state, *address.split("."))]
    if not missing or options.plan_only:
        run.note(f"{len(missing)} to be made" if missing else "all exist")
        return True
    verdict = run.review(run.environment, pushed_images.targets(missing))
    run.say(render.text(run.environment.name, verdict))
    if verdict.outcome == "refused":
        raise DeployError("The repositories cannot be made without a change that is refused.")
    what = "image repositories" if not bucket else "resources for images and artefacts"
    question = f"Make {len(missing)} {what} in {run.environment.region}, and push the images?"
    if not run.confirm(question, None):
        run.report.outcome = "declined"
        return False
    run.apply(verdict)
    return True


def _images(run: StepRunner, options: DeployOptions, images: Mapping[str, str]) -> dict[str, str]:
    """Build and push the missing images of the stack's repositories; return digests, or tags that do not exist yet."""
    if not images:
        run.note("given by the file")
        return {}
    versions = {"airflow": run.environment.airflow_version, "scaler": SCALER_VERSION}
    urls = {
        resource.name.removeprefix("images_"): str(resource.values["repository_url"])
        for resource in find(run.state(), "aws_ecr_repository")
    }
    found = {}
    for kind in images:
        platform = _platform(run.environment, kind)
        given = getattr(run.environment.images, f"{kind}_tag")
        dockerfile = _dockerfile(run) if kind == "airflow" else None
        tag = given or image_context.tag(kind, versions[kind], platform, dockerfile)
        digest = _digest(run, urls[kind], tag) if kind in urls else None
        if digest is None and not options.plan_only:
            _push(run, options, kind, f"{urls[kind]}:{tag}", platform, dockerfile)
            if (digest := _digest(run, urls[kind], tag)) is None:
                raise DeployError(f"{urls[kind]}:{tag} was pushed, and ECR does not list it. Run the command again.")
        run.note(f"{kind} {tag}: {digest or 'to be built'}")
        found[kind] = digest or tag
    if not options.plan_only:
        pushed_images.write(run.folder, found)
    return found


def _dockerfile(run: StepRunner) -> Path | None:
    """Return the user's Dockerfile for Airflow's image; None if the file names none."""
    if (named := run.environment.images.airflow_dockerfile) is None:
        return None
    file = run.connection.file.absolute().parent / named
    if not file.is_file():
        raise DeployError(f"`images.airflow_dockerfile`: there is no file {file}.")
    return file


def _platform(environment: Environment, kind: str) -> str:
    architectures = {environment.architecture} if kind == "scaler" else {*environment.architectures}
    if len(architectures) > 1:
        raise DeployError(
            "The file has fleets of both architectures, and a build makes an image for one. Build the image for both, "
            "and name it by digest in the file (`images`, docs/how-to/build-images.md)."
        )
    return PLATFORMS[architectures.pop()]


def _digest(run: StepRunner, repository_url: str, tag: str) -> str | None:
    """Return the digest of a pushed image; None if it does not exist."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - boto3 is an extra

    name = repository_url.partition("/")[2]
    with aws_errors(run.connection, "ecr:DescribeImages", f"the repository {name}"):
        try:
            answer = run.connection.client("ecr").describe_images(repositoryName=name, imageIds=[{"imageTag": tag}])
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _MISSING_IMAGE:
                return None
            raise
    return str(answer["imageDetails"][0]["imageDigest"])


def _push(
    run: StepRunner, options: DeployOptions, kind: str, reference: str, platform: str, dockerfile: Path | None
) -> None:
    builder = find_builder(options.builder, run.note)
    here = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}.get(machine(), machine())
    run.note(f"{kind}: built with {builder.program} for {platform}")
    with tempfile.TemporaryDirectory(prefix="openmwaa-image-") as folder:
        image_context.write(kind, Path(folder))
        version = [f"AIRFLOW_VERSION={run.environment.airflow_version}"] if kind == "airflow" else []
        try:
            ours = f"{reference}-base" if dockerfile else reference
            builder.build(Path(folder), f"images/{kind}/Dockerfile", ours, platform, version)
            if dockerfile:
                builder.build(dockerfile.parent, dockerfile.name, reference, platform, [f"BASE_IMAGE={ours}"])
        except BuildError as error:
            if here == platform:
                raise
            raise BuildError(
                f"{error}\nThis machine is {here}: to build for {platform} it needs QEMU, see docs/how-to/deploy.md."
            ) from error
    run.note(f"{kind}: pushed to {reference}")
    with aws_errors(run.connection, "ecr:GetAuthorizationToken", "*"):
        answer = run.connection.client("ecr").get_authorization_token()
    user, _, password = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode().partition(":")
    builder.push(reference, user, password)


def _accepted(run: StepRunner, options: DeployOptions, verdict: Verdict) -> bool:
    """Whether the plan is applied; the outcome has the reason if not."""
    if verdict.outcome == "refused":
        run.report.outcome = "refused"
        return False
    if options.approved is not None:
        approved = options.approved.strip().splitlines()
        planned = render.markdown(run.environment.name, verdict).strip().splitlines()
        if difference := "\n".join(difflib.unified_diff(approved, planned, "approved", "planned", lineterm="")):
            raise DeployError(f"The plan differs from the approved plan:\n{difference}")
    if options.plan_only:
        run.report.outcome = "planned"
        return False
    if verdict.outcome == "changed" and not run.confirm(f"Apply this plan in {run.environment.region}?", None):
        run.report.outcome = "declined"
        return False
    return True


def _access(run: StepRunner) -> dict[str, Any]:
    """Return where the environment is entered, and where a password is; the password itself is not read."""
    outputs = run.terraform.outputs()
    found = {"web_url": outputs["web_url"], "required_dns_records": outputs.get("required_dns_records", {})}
    run.say(f"\nWeb       {found['web_url']}")
    if secret := outputs.get("admin_password_secret_arn"):  # none with IAM login
        region = run.environment.region
        words = ("--secret-id", secret, "--region", region, "--query", "SecretString", "--output", "text")
        found |= {
            "user": "admin",
            "password_command": shlex.join(("aws", "secretsmanager", "get-secret-value", *words)),
        }
        run.say(f"User      admin\nPassword  {found['password_command']}")
    for name, target in found["required_dns_records"].items():
        run.say(f"DNS       {name} must point to {target}")
    if not secret:
        found["login_command"] = run.connection.command("login")
        run.say(f"Log in: {found['login_command']}")
    return found
