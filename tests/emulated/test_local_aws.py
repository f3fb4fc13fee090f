# SPDX-License-Identifier: Apache-2.0
"""The services for tasks on the emulated APIs: overrides, the master secret, host names of load balancers."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from botocore.exceptions import ClientError

from local_ecs.runtime.log_files import LogFiles
from openmwaa.local.addresses import AddressBlock, choose_block, listeners_in_use
from openmwaa.local.install import venvs
from openmwaa.local.services import aws
from openmwaa.local.services.cloudwatch_logs import CloudWatchLogs
from openmwaa.local.services.emulator import emulator as emulator_process
from openmwaa.local.services.host_names import HostNameMap
from openmwaa.local.services.load_balancer import LoadBalancers
from openmwaa.local.services.postgres import Postgres, remove_data
from openmwaa.local.services.process_manager import ProcessManager
from openmwaa.local.services.secrets import EmulatedSecrets

pytestmark = pytest.mark.emulated


@pytest.fixture
def here(tmp_path: Path) -> AddressBlock:
    """A block that no environment and no other run of these tests uses."""
    return choose_block(tmp_path, tmp_path / "block", is_free=lambda block: not listeners_in_use(block))


@pytest.fixture
async def emulator(tmp_path: Path, here: AddressBlock) -> AsyncIterator[ProcessManager]:
    files = LogFiles(tmp_path / "logs")
    python = venvs.ensure(venvs.venv_of("emulator"), progress=print)
    managed = emulator_process(
        python=python,
        folder=tmp_path / "emulator",
        addresses=here,
        region="us-east-1",
        environment_id=f"test-{tmp_path.name}",
        log=files.of("emulator"),
    )
    manager = ProcessManager(managed)
    await manager.start()
    yield manager
    await manager.stop()
    files.close()


@pytest.fixture
def url(emulator: ProcessManager, here: AddressBlock) -> str:
    assert emulator.status.state == "running"
    return here.emulator_url


async def test_write_does_not_wait_for_an_unreachable_emulator() -> None:
    sink = CloudWatchLogs("http://127.14.0.9:4566", interval_s=0.01)
    sink.start()
    sink.write({"awslogs-group": "g"}, "s", ["x"] * 100_000)
    async with asyncio.timeout(120) as deadline:
        await sink.close()
    assert not deadline.expired(), "close waits for an unreachable emulator"


async def test_overrides_and_their_history_are_kept_across_a_restart(url: str, emulator: ProcessManager) -> None:
    """The scaler reads by GetParameters, `openmwaa scale` writes with Overwrite and shows GetParameterHistory."""
    name = "/openmwaa/x/scaler/default"
    async with aws.client("ssm", url) as ssm:
        for text in ('{"version": 1, "min": 2}', '{"version": 1, "min": 3}'):
            await ssm.put_parameter(Name=name, Value=text, Type="String", Overwrite=True)
        with pytest.raises(ClientError, match="ParameterAlreadyExists"):
            await ssm.put_parameter(Name=name, Value="{}", Type="String")
    await emulator.stop()
    await emulator.start()
    async with aws.client("ssm", url) as ssm:
        answer = await ssm.get_parameters(Names=[name, "/openmwaa/x/scaler/other"])
        assert [(entry["Value"], entry["Version"]) for entry in answer["Parameters"]] == [
            ('{"version": 1, "min": 3}', 2)
        ]
        assert answer["InvalidParameters"] == ["/openmwaa/x/scaler/other"], "a fleet without an override"
        history = (await ssm.get_parameter_history(Name=name))["Parameters"]
    assert [(entry["Version"], entry["Value"]) for entry in history] == [
        (1, '{"version": 1, "min": 2}'),
        (2, '{"version": 1, "min": 3}'),
    ]
    assert all(entry["LastModifiedUser"].startswith("arn:aws:") for entry in history)


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A folder with a short path for sockets: AF_UNIX is limited to 108 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="omw-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


async def test_the_server_accepts_the_master_that_rds_manages(
    url: str, here: AddressBlock, tmp_path: Path, runtime: Path
) -> None:
    files = LogFiles(tmp_path / "pg-logs")
    postgres = Postgres(
        data=tmp_path / "pg",
        runtime=runtime,
        addresses=here,
        environment_id=f"test-{tmp_path.name}",
        log=files.of("postgresql"),
    )
    server = ProcessManager(postgres.managed_process())
    await server.start()
    try:
        async with aws.client("rds", url) as rds:
            cluster = await rds.create_db_cluster(
                DBClusterIdentifier="c",
                Engine="aurora-postgresql",
                MasterUsername="boss",
                ManageMasterUserPassword=True,
            )
        arn = cluster["DBCluster"]["MasterUserSecret"]["SecretArn"]
        password = await EmulatedSecrets(url, on_master=postgres.ensure_master).resolve(f"{arn}:password::")
        connection = await asyncpg.connect(host=here.database, user="boss", password=password, database="postgres")
        assert not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = 'boss'")
        await connection.execute("CREATE ROLE airflow LOGIN")
        await connection.close()
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            await asyncpg.connect(host=here.database, user="postgres", database="postgres")
    finally:
        await server.stop()
        files.close()
        remove_data(tmp_path / "pg")


async def test_a_load_balancer_answers_at_its_local_address(url: str, here: AddressBlock) -> None:
    async with aws.client("ec2", url) as ec2, aws.client("elbv2", url) as elb:
        subnets = (await ec2.describe_subnets())["Subnets"][:2]
        balancer = await elb.create_load_balancer(Name="l", Subnets=[subnet["SubnetId"] for subnet in subnets])
        arn, name = (balancer["LoadBalancers"][0][key] for key in ("LoadBalancerArn", "DNSName"))
        groups = []
        for word in ("default", "rule"):
            made = await elb.create_target_group(
                Name=word, Protocol="HTTP", Port=80, VpcId=subnets[0]["VpcId"], TargetType="ip"
            )
            groups.append(made["TargetGroups"][0]["TargetGroupArn"])
        fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
        listener = await elb.create_listener(LoadBalancerArn=arn, Protocol="HTTP", Port=18081, DefaultActions=[fixed])
        await elb.create_rule(
            ListenerArn=listener["Listeners"][0]["ListenerArn"],
            Priority=1,
            Conditions=[{"Field": "path-pattern", "Values": ["/execution/*"]}],
            Actions=[{"Type": "forward", "TargetGroupArn": groups[1]}],
        )
    balancers = LoadBalancers(here.load_balancer)
    names = HostNameMap(url, database=here.database, load_balancers=balancers)
    replace = await names.refresh()
    assert replace(f"http://{name}:18081/execution/") == f"http://{here.load_balancer(0)}:18081/execution/"

    def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        writer.close()

    target = await asyncio.start_server(greet, f"127.{here.block}.1.1", 0)
    balancers.register(groups[1], *target.sockets[0].getsockname())
    async with asyncio.timeout(120):
        reader, writer = await asyncio.open_connection(here.load_balancer(0), 18081)
        assert await reader.read() == b"here"
        writer.close()
    await balancers.close()
    target.close()
