# SPDX-License-Identifier: Apache-2.0
"""The contract tests in an AWS account: Fargate tasks in the default VPC. Everything is removed at the end.

NOT YET RUN: this was written from AWS's documentation and has not met an account. The first run may find faults here,
and in what the local ECS takes for ECS's behaviour; the second is what it is for.

It needs credentials that may use ECS and read EC2's default VPC, a region with a default VPC, and a way out for
public.ecr.aws (tasks get public addresses). It makes a cluster `openmwaa-contract-…`, task definitions and services of
0.25 vCPU tasks, and no roles, log groups or networks. A full run keeps up to ten such tasks for about half an hour:
some US cents. What a run that was killed leaves behind is found by that name.
"""

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

CONFIRMATION = "OPENMWAA_CONTRACT_SPEND"
DRAIN_S = 600.0


class AwsPlatform:
    """A new cluster in the account of the environment's credentials."""

    timeout_s = 300.0

    def __init__(self) -> None:
        if os.environ.get(CONFIRMATION) != "yes":
            pytest.exit(f"AWS=real starts Fargate tasks, which cost money. Say so: {CONFIRMATION}=yes", returncode=2)
        session = boto3.Session()
        account = session.client("sts").get_caller_identity()["Account"]
        print(
            f"contract suite: starting Fargate tasks in account {account}, {session.region_name}: some US cents",
            file=sys.__stderr__,
        )
        self.client = session.client("ecs")
        self.cluster = f"openmwaa-contract-{uuid4().hex[:8]}"
        self.service_options: dict[str, Any] = {"launchType": "FARGATE", "networkConfiguration": _network(session)}
        self._families: list[str] = []
        self._services: set[str] = set()
        self.client.create_cluster(clusterName=self.cluster)

    def pass_time(self, seconds: float) -> None:
        time.sleep(seconds + 5)

    def agent_put(self, task_arn: str, body: dict[str, Any]) -> None:
        """Return None: on AWS only the task can call its agent, and busybox has no HTTP client with PUT."""
        return

    def until_trap_is_set(self, task_arn: str) -> None:
        time.sleep(5)

    def family(self) -> str:
        self._families.append(f"{self.cluster}-{len(self._families)}")
        return self._families[-1]

    def created(self, service: str) -> None:
        self._services.add(service)

    def forget(self, services: Sequence[str]) -> None:
        for service in services:
            with contextlib.suppress(ClientError):  # deleted by its test
                self.client.delete_service(cluster=self.cluster, service=service, force=True)
            self._services.discard(service)

    def close(self) -> None:
        """Remove everything. Continues after errors and reports what remains."""
        self.forget(sorted(self._services))
        for arn in self.client.list_tasks(cluster=self.cluster)["taskArns"]:
            with contextlib.suppress(ClientError):
                self.client.stop_task(cluster=self.cluster, task=arn, reason="contract suite ends")
        for family in self._families:
            for arn in self.client.list_task_definitions(familyPrefix=family)["taskDefinitionArns"]:
                self.client.deregister_task_definition(taskDefinition=arn)
        deadline = time.monotonic() + DRAIN_S
        while True:
            try:
                self.client.delete_cluster(cluster=self.cluster)
            except ClientError as refused:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"delete the cluster {self.cluster} by hand: {refused}") from refused
                time.sleep(10)
            else:
                return


def _network(session: boto3.Session) -> dict[str, Any]:
    ec2 = session.client("ec2")
    found = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    if not found:
        pytest.exit("AWS=real needs a default VPC with default subnets in this region", returncode=2)
    subnets = [s["SubnetId"] for s in found]
    return {"awsvpcConfiguration": {"subnets": subnets, "assignPublicIp": "ENABLED"}}
