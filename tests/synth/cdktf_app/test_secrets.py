# SPDX-License-Identifier: Apache-2.0
"""Values of secrets are not in JSON, plan or state; each container gets only its secrets."""

import pytest

from tests.support.stack import Stack, environment_of, secrets_of, walk
from tests.synth.cdktf_app.conftest import stack_of

AIRFLOW, CELERY, SCALER = (f"OPENMWAA_{name}_DATABASE_PASSWORD" for name in ("AIRFLOW", "CELERY", "SCALER"))
FERNET, API, JWT = "OPENMWAA_FERNET_KEY", "OPENMWAA_API_SECRET_KEY", "OPENMWAA_JWT_SECRET"
SEED, ADMIN = "OPENMWAA_SCALER_SIGNING_SEED", "OPENMWAA_ADMIN_PASSWORD"
OVERRIDES = {"web-server/web-server": "OPENMWAA_SCALER_OVERRIDES_KEY", "scaler/scaler": "SCALER_OVERRIDES_KEY"}

GIVEN = {
    "scheduler/prepare-database": {"OPENMWAA_DATABASE_MASTER", AIRFLOW, CELERY, SCALER, SEED},
    "scheduler/scheduler": {AIRFLOW, CELERY, FERNET, JWT},
    "dag-processor/dag-syncer": set[str](),
    "dag-processor/dag-processor": {AIRFLOW, FERNET},
    "triggerer/dag-syncer": set[str](),
    "triggerer/triggerer": {AIRFLOW, FERNET},
    "execution-api/execution-api": {AIRFLOW, FERNET, API, JWT},
    "web-server/web-server": {AIRFLOW, FERNET, API, OVERRIDES["web-server/web-server"]},
    "worker-default/dag-syncer": set[str](),
    "worker-default/worker": {CELERY},
    "scaler/scaler": {"SCALER_DATABASE_PASSWORD", "SCALER_SIGNING_SEED", OVERRIDES["scaler/scaler"]},
}
LOGINS = {
    "secrets_airflow_database_password": "airflow",
    "secrets_celery_database_password": "celery_results",
    "secrets_scaler_database_password": "scaler",
}


def test_secrets_of_each_container(quickstart: Stack) -> None:
    assert {name: set(secrets_of(container)) for name, container in quickstart.containers.items()} == GIVEN


def test_with_passwords_no_container_signs_overrides(password_login: Stack) -> None:
    given = {name: set(secrets_of(container)) for name, container in password_login.containers.items()}
    web, scaler = ({*GIVEN[name]} - {key} for name, key in OVERRIDES.items())
    assert given == {**GIVEN, "web-server/web-server": web | {ADMIN}, "scaler/scaler": scaler}


def test_web_server_and_scaler_sign_overrides_with_one_key_that_no_other_container_has() -> None:
    """With a compact control plane DAG code has the web server's task role, and not its container."""
    for stack in (stack_of(control_plane="COMPACT"), stack_of(control_plane="SEPARATE")):
        key = "${aws_secretsmanager_secret_version.secrets_scaler_overrides_key.arn}"
        found = {name.partition("/")[2] for name, one in stack.containers.items() if key in secrets_of(one).values()}
        assert found == {"web-server", "scaler"}


def test_no_secret_is_a_plain_variable(quickstart: Stack, byo_resources: Stack, password_login: Stack) -> None:
    every = {ADMIN, *(name for names in GIVEN.values() for name in names)}
    for stack in (quickstart, byo_resources, password_login):
        for name, container in stack.containers.items():
            plain = environment_of(container)
            assert not every & set(plain), f"{name} has a secret among its plain variables"
            refers = [key for key, value in plain.items() if "aws_secretsmanager" in value or "ephemeral." in value]
            assert not refers, f"{name} refers to a secret in {refers}"


@pytest.mark.parametrize(("fixture", "count"), [("quickstart", 8), ("password_login", 8)], ids=["IAM", "PASSWORD"])
def test_values_are_ephemeral_and_write_only(fixture: str, count: int, request: pytest.FixtureRequest) -> None:
    stack: Stack = request.getfixturevalue(fixture)
    versions = stack.resources("aws_secretsmanager_secret_version")
    assert len(versions) == count
    for name, version in versions.items():
        assert set(version) == {"secret_id", "secret_string_wo", "secret_string_wo_version"}, name
        assert f"ephemeral.aws_secretsmanager_random_password.{name}." in version["secret_string_wo"], name


@pytest.mark.parametrize("kind", ["random_password", "random_string", "tls_private_key", "aws_ssm_parameter"])
def test_no_resource_generates_values_in_the_state(quickstart: Stack, kind: str) -> None:
    assert not quickstart.resources(kind)
    assert kind not in quickstart.document["data"]


def test_no_attribute_puts_a_secret_into_the_state(quickstart: Stack) -> None:
    kept = {"password", "master_password", "secret_string", "secret_binary", "auth_token", "secret_key", "access_key"}
    found = [".".join(path) for path, _ in walk(quickstart.document) if path and path[-1] in kept]
    assert not found


def test_ephemeral_values_are_used_in_write_only_arguments_only(quickstart: Stack) -> None:
    for path, value in walk(quickstart.document):
        if isinstance(value, str) and "ephemeral." in value:
            assert path[-1] == "secret_string_wo", f"{'.'.join(path)} would leave the ephemeral world"


def test_fernet_key_is_made_of_32_bytes_in_the_url_safe_alphabet(quickstart: Stack) -> None:
    expression = quickstart.resources("aws_secretsmanager_secret_version")["secrets_fernet_key"]["secret_string_wo"]
    password = "ephemeral.aws_secretsmanager_random_password.secrets_fernet_key.random_password"
    assert expression == f'${{replace(replace(base64sha256({password}), "+", "-"), "/", "_")}}'


def test_secrets_can_be_created_again_with_the_same_name(quickstart: Stack) -> None:
    for name, secret in quickstart.resources("aws_secretsmanager_secret").items():
        assert secret["recovery_window_in_days"] == 0, f"{name} would keep its name after destroy"
        assert secret["kms_key_id"] == "${aws_kms_key.keys.arn}"


def test_the_fernet_key_of_a_final_snapshot_remains_after_destroy() -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    without = stack_of(kms_key=key)
    with_one = stack_of(kms_key=key, metadata_database={"kind": "AURORA_SERVERLESS_V2", "final_snapshot": True})
    secrets = with_one.resources("aws_secretsmanager_secret")
    assert {name for name, secret in secrets.items() if secret["recovery_window_in_days"]} == {"secrets_fernet_key"}
    kept = secrets["secrets_fernet_key"]
    assert kept["recovery_window_in_days"] == 30
    before = without.resources("aws_secretsmanager_secret")["secrets_fernet_key"]
    assert "name" not in kept, "the next environment of the name could not be made for 30 days"
    assert before["name_prefix"] == kept["name_prefix"], (
        "final_snapshot would replace a living environment's Fernet key"
    )
    assert (
        "${aws_secretsmanager_secret_version.secrets_fernet_key.arn}"
        in with_one.document["output"]["retained_resources"]["value"]
    )


@pytest.mark.parametrize(("version", "turn"), [(1, "a"), (2, "b"), (3, "a")])
def test_database_roles_alternate_between_two_logins(version: int, turn: str) -> None:
    stack = stack_of(rotation={"database_passwords": version})
    versions = stack.resources("aws_secretsmanager_secret_version")
    raised = {name: secret for name, secret in versions.items() if secret["secret_string_wo_version"] == version}
    for secret, owner in LOGINS.items():
        assert f'"username" = "{owner}_{turn}"' in raised[secret]["secret_string_wo"], secret
    if version > 1:
        assert set(raised) == set(LOGINS), "a rotation of the database's passwords changes something else"


def test_new_passwords_create_new_revisions_of_their_containers(quickstart: Stack) -> None:
    rotated = stack_of(rotation={"database_passwords": 2})
    for name, container in rotated.containers.items():
        holds = any("DATABASE_PASSWORD" in variable for variable in secrets_of(container))
        generation = environment_of(container).get("OPENMWAA_DATABASE_PASSWORDS")
        assert not holds or generation == "2", f"{name} would run on with the old password until it is started again"
    assert environment_of(quickstart.containers["scheduler/scheduler"])["OPENMWAA_DATABASE_PASSWORDS"] == "1"


def test_rds_manages_the_master_password(quickstart: Stack) -> None:
    database = quickstart.only("aws_db_instance")
    assert database["manage_master_user_password"] is True
    assert database["master_user_secret_kms_key_id"] == "${aws_kms_key.keys.arn}"


@pytest.mark.parametrize("fixture", ["quickstart", "password_login"], ids=["IAM", "PASSWORD"])
def test_execution_roles_read_exactly_their_containers_secrets(fixture: str, request: pytest.FixtureRequest) -> None:
    stack: Stack = request.getfixturevalue(fixture)
    for task in stack.resources("aws_ecs_task_definition").values():
        containers = stack.local(task["container_definitions"])
        needed = dict.fromkeys(arn for container in containers for arn in secrets_of(container).values())
        role = task["execution_role_arn"].removeprefix("${aws_iam_role.").removesuffix(".arn}")
        read = [
            arn
            for statement in stack.role_policy(role)
            if "secretsmanager:GetSecretValue" in statement["Action"]
            for arn in statement["Resource"]
        ]
        # In the order of the containers: that of tokens depends on what the process synthesised before.
        assert read == list(needed), f"{role} does not fit {task['family']}"


def test_no_task_role_reads_secrets_of_the_environment(quickstart: Stack) -> None:
    roles = {task["task_role_arn"] for task in quickstart.resources("aws_ecs_task_definition").values()}
    for role in roles:
        name = role.removeprefix("${aws_iam_role.").removesuffix(".arn}")
        for statement in quickstart.role_policy(name):
            if any(action.startswith("secretsmanager:") for action in statement["Action"]):
                names = [row.partition(":secret:")[2] for row in statement["Resource"] if ":secret:" in row]
                assert names == ["airflow/connections/*", "airflow/variables/*"], name
