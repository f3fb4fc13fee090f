# SPDX-License-Identifier: Apache-2.0
"""A fake of ECS, SQS, SSM and all worker agents in one process, for benchmarks of the scaler.

    python -m benchmarks.fake_aws_server PORT AGENT_PORT FLEETS WORKERS

Every fleet has two services: the first has WORKERS busy workers, the second none. Agents listen on all 127/8 addresses.
"""

import asyncio
import json
import sys
from collections import Counter
from typing import Any

from aiohttp import web

PREFIX = "arn:aws:ecs:us-east-1:123456789012"
CLUSTER = "openmwaa-bench"


class FakeFleets:
    """Fleets of a constant size."""

    def __init__(self, fleets: int, workers: int) -> None:
        self.calls: Counter[str] = Counter()
        self.agent_calls = 0
        self.workers = workers
        self.arns: dict[str, list[str]] = {}
        self.group: dict[str, str] = {}
        self.address: dict[str, str] = {}
        self.by_address: dict[str, str] = {}
        number = 0
        for fleet in range(fleets):
            service = f"worker-fleet-{fleet:04d}-a"
            self.arns[service] = []
            for _ in range(workers):
                number += 1
                arn = f"{PREFIX}:task/{CLUSTER}/{number:032x}"
                address = f"127.{20 + number // 65000}.{number // 250 % 250}.{1 + number % 250}"
                self.arns[service].append(arn)
                self.group[arn] = f"service:{service}"
                self.address[arn], self.by_address[address] = address, arn

    def respond(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        self.calls[operation] += 1
        response: dict[str, Any] = getattr(self, operation)(request)
        return response

    def DescribeServices(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802  AWS's names
        return {"services": [self._service(name) for name in request["services"]], "failures": []}

    def ListTasks(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        service = request.get("serviceName")
        arns = list(self.group) if service is None else self.arns.get(service, [])
        start = int(request.get("nextToken", "0"))
        more = {"nextToken": str(start + 100)} if start + 100 < len(arns) else {}
        return {"taskArns": arns[start : start + 100], **more}

    def DescribeTasks(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"tasks": [self._task(arn) for arn in request["tasks"]], "failures": []}

    def GetTaskProtection(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        protected = [{"taskArn": arn, "protectionEnabled": True, "expirationDate": 1.9e9} for arn in request["tasks"]]
        return {"protectedTasks": protected, "failures": []}

    def UpdateService(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"service": self._service(request["service"])}

    def GetQueueAttributes(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        del request
        numbers = {"": 0, "NotVisible": 2 * self.workers, "Delayed": 0}
        return {"Attributes": {f"ApproximateNumberOfMessages{name}": str(value) for name, value in numbers.items()}}

    def GetParameters(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"Parameters": [], "InvalidParameters": request["Names"]}

    def agent(self, address: str) -> dict[str, Any]:
        self.agent_calls += 1
        return {
            "version": 1,
            "task_arn": self.by_address[address],
            "phase": "consuming",
            "gate": "open",
            "polls_in_flight": 1,
            "reserved": 2,
            "scheduled": 0,
            "running": 2,
            "concurrency": 5,
            "longest_running_s": 12.5,
            "protected_until": "2099-01-01T00:00:00Z",
            "protection_refusal": None,
            "drain_lease_until": None,
        }

    def _service(self, name: str) -> dict[str, Any]:
        workers = len(self.arns.get(name, ()))
        return {
            "serviceName": name,
            "serviceArn": f"{PREFIX}:service/{CLUSTER}/{name}",
            "status": "ACTIVE",
            "desiredCount": workers,
            "runningCount": workers,
            "pendingCount": 0,
            "deployments": [
                {
                    "id": "ecs-svc/1",
                    "status": "PRIMARY",
                    "taskDefinition": f"{PREFIX}:task-definition/openmwaa-bench-worker:{7 if workers else 6}",
                    "desiredCount": workers,
                    "runningCount": workers,
                    "pendingCount": 0,
                    "rolloutState": "COMPLETED",
                }
            ],
            # AWS returns the last 100 events; they are most of the bytes of a response.
            "events": [
                {"id": f"{n:036d}", "createdAt": 1.7e9, "message": f"(service {name}) has reached a steady state."}
                for n in range(100)
            ],
        }

    def _task(self, arn: str) -> dict[str, Any]:
        details = [
            {"name": "subnetId", "value": "subnet-0123456789abcdef0"},
            {"name": "networkInterfaceId", "value": "eni-0123456789abcdef0"},
            {"name": "macAddress", "value": "02:00:00:00:00:01"},
            {"name": "privateDnsName", "value": "ip-10-0-0-1.ec2.internal"},
            {"name": "privateIPv4Address", "value": self.address[arn]},
        ]
        return {
            "taskArn": arn,
            "clusterArn": f"{PREFIX}:cluster/{CLUSTER}",
            "group": self.group[arn],
            "lastStatus": "RUNNING",
            "desiredStatus": "RUNNING",
            "taskDefinitionArn": f"{PREFIX}:task-definition/openmwaa-bench-worker:7",
            "cpu": "1024",
            "memory": "2048",
            "launchType": "FARGATE",
            "attachments": [{"id": "1", "type": "ElasticNetworkInterface", "status": "ATTACHED", "details": details}],
            "containers": [
                {"name": "worker", "lastStatus": "RUNNING", "healthStatus": "UNKNOWN", "taskArn": arn},
                {"name": "dag-syncer", "lastStatus": "RUNNING", "healthStatus": "HEALTHY", "taskArn": arn},
            ],
        }


async def serve(port: int, agent_port: int, fleets: FakeFleets) -> None:
    async def aws(request: web.Request) -> web.Response:
        operation = request.headers["X-Amz-Target"].rsplit(".", 1)[-1]
        body = fleets.respond(operation, json.loads(await request.read()))
        return web.json_response(body, content_type="application/x-amz-json-1.1")

    async def agent(request: web.Request) -> web.Response:
        return web.json_response(fleets.agent(str(request.url.host)))

    async def counts(_: web.Request) -> web.Response:
        return web.json_response({"calls": fleets.calls, "agents": fleets.agent_calls})

    for port_, routes in (
        (port, [web.post("/{path:.*}", aws), web.get("/counts", counts)]),
        (agent_port, [web.get("/v1/state", agent)]),
    ):
        app = web.Application()
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", port_, backlog=4096).start()  # every worker has its own address
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    port, agent_port, fleets, workers = map(int, sys.argv[1:5])
    asyncio.run(serve(port, agent_port, FakeFleets(fleets, workers)))
