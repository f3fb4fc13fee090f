# SPDX-License-Identifier: Apache-2.0
"""Two web servers of one environment, and two environments: real Airflow, PostgreSQL and an emulated STS."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.airflow import airflow_process, result_of
from tests.support.fake_sts import FakeSts, serve
from tests.support.web_servers import HTTP, OP, environment, profile, status, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


async def test_a_proof_a_command_and_a_revocation_count_at_both_web_servers(tmp_path: Path) -> None:
    with serve(FakeSts([OP])) as sts:
        async with environment(tmp_path, sts, "shop") as shop:
            with shop.web_server(shop.port) as one, shop.web_server() as two:
                proof = shop.proof()
                found, session = shop.exchange(one, "api", proof)
                assert (found, session["role"]) == (200, "Op"), session
                found, refusal = shop.exchange(two, "api", proof)
                assert (found, "used before" in refusal["message"]) == (401, True), refusal

                proof = shop.proof()
                with ThreadPoolExecutor() as threads:
                    at_once = threads.map(lambda url: shop.exchange(url, "api", proof)[0], (one, two))
                assert sorted(at_once) == [200, 401]

                token = shop.exchange(one, "web")[1]["web_token"]
                logins = [
                    HTTP.request(
                        "POST",
                        f"{url}/aws_mwaa/login",
                        fields={"token": token},
                        encode_multipart=False,
                        redirect=False,
                    ).status
                    for url in (two, one)
                ]
                assert logins == [303, 401]

                command = shop.exchange(one, "cli")[1]["cli_token"]
                runs = [status("POST", f"{url}/aws_mwaa/cli", command, body=b"version") for url in (two, one)]
                assert runs == [200, 401]

                def dags(url: str) -> int:
                    return status("GET", f"{url}/api/v2/dags", session["access_token"])

                assert [dags(one), dags(two)] == [200, 200]
                assert shop.exchange(one, "revoke")[0] == 200
                until("the session ends at both", lambda: {dags(one), dags(two)} <= {401, 403})
                newer = shop.exchange(two, "api")[1]["access_token"]
                assert status("GET", f"{one}/api/v2/dags", newer) == 200


GREET = """
from airflow.sdk import dag, task

@dag(schedule=None)
def greet():
    @task
    def hello():
        print("Hello")
    hello()

greet()
"""
TRIGGER = """
from airflow.providers.amazon.aws.operators.mwaa import MwaaTriggerDagRunOperator
from airflow.sdk import dag

@dag(schedule=None)
def trigger():
    MwaaTriggerDagRunOperator(
        task_id="trigger", env_name="other", trigger_dag_id="greet", trigger_run_id="by_shop",
        logical_date="2026-01-01T00:00:00+00:00", aws_conn_id="other",
    )

trigger()
"""
RUN_DAG = """
from airflow.utils.db import initdb
from openmwaa_runtime.run_dag import main
initdb()
try:
    main(["trigger", "--folder", "dags"])
except SystemExit as done:
    print(done.code)
"""
NOT_A_WORKER = {
    "OPENMWAA_QUEUES": json.dumps({"default": "https://sqs.eu-west-1.amazonaws.com/123456789012/default"}),
    "OPENMWAA_EXECUTION_API_URL": "http://127.0.0.1:1",
    "OPENMWAA_TOTAL_SLOTS": "1",
}


async def test_an_operator_in_one_environment_triggers_a_dag_in_another(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("shop", "other", "author")]
    for folder in folders:
        (folder / "dags" / "current").mkdir(parents=True)
    of_shop, of_other, of_author = folders
    (of_other / "dags" / "current" / "greet.py").write_text(GREET)
    (of_author / "dags" / "trigger.py").write_text(TRIGGER)
    with serve(FakeSts([OP])) as sts:
        async with environment(of_shop, sts, "shop") as shop, environment(of_other, sts, "other") as other:
            with (
                shop.web_server(shop.port) as shop_url,
                other.web_server(other.port) as other_url,
                other.process("dag-processor", OPENMWAA_DAG_FOLDER=str(of_other / "dags")),
            ):
                token, token_of_other = (env.exchange(env.web_url, "api")[1]["access_token"] for env in (shop, other))
                until(
                    "Airflow parses the DAG",
                    lambda: status("GET", f"{other_url}/api/v2/dags/greet", token_of_other) == 200,
                )
                connection = {"connection_id": "other", "conn_type": "aws", "extra": '{"profile_name": "other"}'}
                assert status("POST", f"{shop_url}/api/v2/connections", token, json=connection) == 201
                running = json.dumps({**shop.variables, **NOT_A_WORKER})
                options = {**profile(of_author, other), "PATH": os.environ["PATH"], "OPENMWAA_RUNNING": running}
                database = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{of_author}/airflow.db"}
                with airflow_process(RUN_DAG, of_author, **database, **options) as process:
                    assert result_of(process) == 0
                run = "/api/v2/dags/greet/dagRuns/by_shop"
                assert status("GET", other_url + run, token_of_other) == 200
                assert status("GET", shop_url + run, token) == 404

                # Nothing of one environment opens the other.
                assert status("GET", f"{other_url}/api/v2/dags", token) in {401, 403}
                assert other.exchange(other_url, "api", shop.proof())[0] == 401
                keys = shop.exchange(shop_url, "credentials")[1]
                client = boto3.client(
                    "mwaa",
                    endpoint_url=f"{other_url}/aws_mwaa/api",
                    region_name="eu-west-1",
                    aws_access_key_id=keys["AccessKeyId"],
                    aws_secret_access_key=keys["SecretAccessKey"],
                    aws_session_token=keys["SessionToken"],
                    config=Config(inject_host_prefix=False),
                )
                with pytest.raises(ClientError) as raised:
                    client.get_environment(Name="other")
                assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
