# SPDX-License-Identifier: Apache-2.0
"""The variables that a task definition sets, for every component."""

import json

import pytest


@pytest.fixture
def on_redis(container: dict[str, str]) -> dict[str, str]:
    """The same variables with Redis as the broker."""
    queues = json.dumps({"default": "default", "high": "high"})
    return {**container, "OPENMWAA_QUEUES": queues, "OPENMWAA_BROKER_URL": "rediss://celery@redis.internal:6379/0"}


@pytest.fixture
def container() -> dict[str, str]:
    return {**CONTAINER}


CONTAINER = {
    "HOME": "/home/airflow",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "OPENMWAA_ENVIRONMENT": "demo",
    "OPENMWAA_DATABASE_HOST": "db.internal",
    "OPENMWAA_DATABASE_SSLMODE": "require",
    "OPENMWAA_DATABASE_MASTER": json.dumps({"username": "master", "password": "secret-master"}),
    "OPENMWAA_AIRFLOW_DATABASE_PASSWORD": "secret-airflow/?@:%",
    "OPENMWAA_CELERY_DATABASE_PASSWORD": "secret-celery",
    "OPENMWAA_SCALER_DATABASE_PASSWORD": "secret-scaler",
    "OPENMWAA_SCALER_SIGNING_SEED": "secret-seed",
    "OPENMWAA_FERNET_KEY": "secret-fernet",
    "OPENMWAA_API_SECRET_KEY": "secret-api",
    "OPENMWAA_JWT_SECRET": "secret-jwt",
    "OPENMWAA_ADMIN_PASSWORD": "secret-admin",
    "OPENMWAA_QUEUES": json.dumps({"default": "https://sqs/default", "high": "https://sqs/high"}),
    "OPENMWAA_TOTAL_SLOTS": "50",
    "OPENMWAA_WORKER_QUEUES": "default,high",
    "OPENMWAA_WORKER_SLOTS": "5",
    "OPENMWAA_EXECUTION_API_URL": "http://api.internal:8081/execution/",
    "OPENMWAA_WEB_URL": "http://web.internal:8080",
    "OPENMWAA_DAG_BUCKET": "bucket",
    "OPENMWAA_DAG_FOLDER": "/opt/openmwaa/dags",
    "OPENMWAA_ARCHITECTURES": "ARM64",
    "OPENMWAA_BROKER_USER_IDS": json.dumps({"celery": "demo-celery", "scaler": "demo-scaler"}),
    "OPENMWAA_BROKER_PASSWORD": "secret-broker/?@:%",
    "OPENMWAA_SCALER_BROKER_PASSWORD": "secret-scaler-broker",
    "OPENMWAA_TASK_LOG_GROUP_ARN": "arn:aws:logs:eu-west-1:123456789012:log-group:airflow-demo-Task:*",
}
