# SPDX-License-Identifier: Apache-2.0
"""Options are checked against the version's own schema; options of the user's own sections stay possible."""

import re
from pathlib import Path

import pytest

from openmwaa.config.airflow_options import OWNED_OPTIONS
from openmwaa.config.airflow_schema import AirflowSchema, check_known
from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS
from openmwaa.config.environment_file import loads
from openmwaa.errors import EnvironmentFileError
from openmwaa_runtime.settings.compute import SETTINGS
from tests.support.environments import LEAST_YAML

VERSION = "3.3.2"
REFUSED = {
    "a typing error": ("core.parallelsm", "4", "did you mean `core.parallelism`?"),
    "an option of another section": ("core.worker_precheck", "True", "is `celery.worker_precheck`"),
    "an option in the wrong section": ("core.dag_bundle_config_list", "[]", "mean `dag_processor.dag_bundle_config_l"),
    "a section with a typing error": ("schedulr.max_tis_per_query", "4", "did you mean `scheduler.max_tis_per_query`?"),
    "no option of a known section": ("core.team", "a", "use a section that Airflow does not have, such as `my_team`"),
    "a renamed option that openmwaa sets": ("core.sql_alchemy_conn", "x", "openmwaa sets that option: set `metadata_d"),
    "a renamed option": ("webserver.expose_config", "True", "is `api.expose_config` in Airflow 3.3.2; write that name"),
    "an option that was renamed twice": ("webserver.page_size", "50", "is `api.fallback_page_limit`"),
    "an option of a provider that is not installed": (
        "webserver.navbar_color",
        "#fff",
        "a provider that the image doe",
    ),
    "a removed option": ("smtp.smtp_user", "a", "does not exist in Airflow 3.3.2: Please use the SMTP connection"),
    "a removed option without advice": ("webserver.worker_class", "sync", "does not exist in Airflow 3.3.2; remove it"),
    "an unknown option of a removed section": ("webserver.foo", "x", "is no option of Airflow 3.3.2"),
    "text for a whole number": ("core.parallelism", "many", "is 'many'; it must be a whole number"),
    "a fraction for a whole number": ("core.parallelism", "1.5", "it must be a whole number"),
    "nothing for a number": ("scheduler.scheduler_heartbeat_sec", "", "it must be a"),
    "text for a boolean": ("core.load_examples", "yes", "is 'yes'; it must be True or False"),
    "an unknown value": ("logging.logging_level", "info", "must be one of CRITICAL, FATAL, ERROR, WARN, WARNING, INFO"),
    "a command for a value that is no secret": ("core.parallelism_cmd", "echo 1", "is no option of Airflow"),
}


def _file(options: dict[str, str]) -> str:
    rows = "".join(f"  {option}: '{value}'\n" for option, value in options.items())
    return f"{LEAST_YAML}airflow_configuration_options:\n{rows}"


@pytest.mark.parametrize(("option", "value", "message"), REFUSED.values(), ids=REFUSED)
def test_an_option_that_the_version_does_not_have_is_refused(option: str, value: str, message: str) -> None:
    with pytest.raises(EnvironmentFileError) as caught:
        loads(_file({option: value}), Path("environment.yaml"))
    (problem,) = caught.value.problems
    assert (problem.line, problem.field) == (4, f"airflow_configuration_options.{option}")
    assert message in problem.message


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("dag_processor.parsing_processes", "did you mean `scheduler.parsing_processes`?"),
        ("api.base_url", "did you mean `webserver.base_url`?"),
        ("execution_api.jwt_audience", "is no option of Airflow 2.11.2"),
        ("workers.max_failed_heartbeats", "is no option of Airflow 2.11.2"),
        ("database.check_migrations", "no rights for it"),
        ("scheduler.schedule_after_task_execution", "no rights for it"),
    ],
)
def test_an_option_of_airflow_3_is_refused_with_airflow_2(option: str, message: str) -> None:
    with pytest.raises(EnvironmentFileError, match=re.escape(message)):
        loads(f"airflow_version: 2.11.2\n{_file({option: 'True'})}", Path("environment.yaml"))


def test_what_workers_of_airflow_2_may_not_do_can_be_written_as_off() -> None:
    off = {"database.check_migrations": "False", "scheduler.schedule_after_task_execution": "False"}
    loads(f"airflow_version: 2.11.2\n{_file(off)}", Path("environment.yaml"))
    loads(_file({"database.check_migrations": "True"}), Path("environment.yaml"))


def test_all_options_that_are_wrong_are_reported_at_once() -> None:
    with pytest.raises(EnvironmentFileError) as caught:
        loads(_file({"core.dag_concurrency": "4", "core.parallelism": "64", "webserver.x": "1"}), Path("e.yaml"))
    assert [problem.line for problem in caught.value.problems] == [4, 6]


@pytest.mark.parametrize(
    "option",
    [
        *("my_team.bucket", "celery_app.broker", "fab.navbar_color", "openlineage.transport", "core_team.parallel"),
        *("celery_broker_transport_options.max_retries", "sentry.release", "openmwaa.lost_worker_retries"),
        *("database.sql_alchemy_engine_args_secret", "secrets.backend_kwarg__region_name", "elasticsearch_configs.x"),
    ],
)
def test_an_option_of_the_users_own_code_or_of_an_open_section_is_accepted(option: str) -> None:
    check_known({option: "1"}, VERSION)


@pytest.mark.parametrize("value", ["True", "true", "T", "1", "False", "f", "0", "True # by night"])
def test_every_boolean_of_airflow_is_accepted(value: str) -> None:
    check_known({"core.load_examples": value}, VERSION)


@pytest.mark.parametrize("version", AIRFLOW_VERSIONS)
def test_every_version_has_the_options_that_openmwaa_sets(version: str) -> None:
    schema = AirflowSchema.of(version)
    names = {setting.name for setting in SETTINGS[int(version[0])]}
    names -= {"openmwaa.lost_worker_retries"}
    unknown = {
        name for name in names if not _has(schema, name) and not name.startswith("celery_broker_transport_options.")
    }
    assert unknown == set(), f"Airflow {version} has no option {unknown}"


def test_every_option_with_a_verdict_is_one_of_some_version() -> None:
    schemas = [AirflowSchema.of(version) for version in AIRFLOW_VERSIONS]
    names = {row.option for row in OWNED_OPTIONS} - {"celery.worker_autoscale"}
    names = {name for name in names if not name.startswith("celery_broker_transport_options.")}
    assert not {name for name in names if not any(_has(schema, name) for schema in schemas)}


def _has(schema: AirflowSchema, name: str) -> bool:
    section, _, option = name.rpartition(".")
    return option in schema.sections.get(section, {})
