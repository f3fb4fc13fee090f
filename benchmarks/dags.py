# SPDX-License-Identifier: Apache-2.0
"""Seconds until Airflow has parsed a DAG: after an edit in a local folder, and after an upload to the bucket."""

import asyncio
import random
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import boto3

from openmwaa.cli.init import init
from openmwaa.config.environment_file import load
from openmwaa.local.demo.run import endpoints_of
from openmwaa.local.demo.summary import percentiles
from openmwaa.local.down import down
from openmwaa.local.paths import LocalPaths
from openmwaa.local.services.airflow_api import AirflowApi
from openmwaa.local.terraform import terraform_override
from openmwaa.local.up import Ready, up

EDITS = 40
UPLOADS = 20
PARSED_WITHIN_S = 60.0
SEED = 20261129
IN_AWS_S = "9"
"""The interval of the syncer in AWS; on this machine it is shorter."""
_print = partial(print, flush=True)


def measure() -> dict[str, Any]:
    """Return the seconds of edits and uploads, of a DAG's own file and of a module that it imports."""
    with tempfile.TemporaryDirectory(prefix="openmwaa-bench-") as folder:
        project = Path(folder) / "bench"
        init(project)
        dag = project / "dags/hello.py"
        (project / "dags/words.py").write_text('TAG = "first"\n')
        text = dag.read_text().replace("from airflow", 'from words import TAG\nOWN = "first"\nfrom airflow')
        dag.write_text(text.replace('tags=["example"]', "tags=[OWN, TAG]"))
        file = project / "environment.yaml"
        terraform_override.DAG_SYNC_INTERVAL_S = IN_AWS_S
        try:
            ready = up(file, progress=_print, dags=project / "dags")
            return asyncio.run(_measure(file, ready))
        finally:
            down(LocalPaths.of(file, load(file).name), delete_data=True, progress=_print)


async def _measure(file: Path, ready: Ready) -> dict[str, Any]:
    environment, dags = load(file), file.parent / "dags"
    endpoints = await asyncio.to_thread(endpoints_of, ready, environment)
    own, module = dags / "hello.py", dags / "words.py"

    s3 = boto3.client(
        "s3",
        endpoint_url=endpoints.aws_url,
        region_name=endpoints.region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )

    def save(path: Path, tag: str) -> None:
        path.write_text(re.sub("(?m)^(OWN|TAG) = .*$", rf'\1 = "{tag}"', path.read_text()))

    def upload(path: Path, tag: str) -> None:
        save(path, tag)
        s3.upload_file(str(path), endpoints.bucket, f"dags/{path.name}")

    async with aiohttp.ClientSession(trust_env=False) as http:
        airflow = AirflowApi(http, endpoints.web_url, endpoints.authorize, environment.airflow)
        await _changes(airflow, save, own, 1)  # the first parse of a new environment takes 12 s
        edits = {path.name: await _changes(airflow, save, path, EDITS) for path in (own, module)}
        for path in (own, module):
            await asyncio.to_thread(upload, path, "first-upload")
        await asyncio.to_thread(up, file, progress=_print, dags="bucket")
        uploads = {path.name: await _changes(airflow, upload, path, UPLOADS) for path in (own, module)}
    return {
        "edit_to_parsed_s": {"dag": edits[own.name], "module": edits[module.name]},
        "upload_to_parsed_s": {"dag": uploads[own.name], "module": uploads[module.name]},
        "sync_interval_s": {"folder": 0.5, "bucket": float(IN_AWS_S)},
        "seed": SEED,
    }


async def _changes(airflow: AirflowApi, write: Callable[[Path, str], None], path: Path, count: int) -> dict[str, Any]:
    """Change a tag of the DAG again and again, at random moments; return the seconds until Airflow has it."""
    seconds: list[float] = []
    phase = random.Random(SEED)
    for number in range(count):
        await asyncio.sleep(phase.uniform(2, 10))
        tag = f"{write.__name__}-{path.stem}-{number + 1}-of-{count}"
        began = time.monotonic()
        await asyncio.to_thread(write, path, tag)
        async with asyncio.timeout(PARSED_WITHIN_S):
            while tag not in await airflow.tags("hello"):  # noqa: ASYNC110 - Airflow sends no events
                await asyncio.sleep(0.1)
        seconds.append(round(time.monotonic() - began, 2))
        _print(f"{path.name}: {number + 1} of {count}: {seconds[-1]} s")
    found = percentiles(seconds)
    return {"seconds": seconds, **(asdict(found) if found else {})}
