# SPDX-License-Identifier: Apache-2.0
"""Metrics as log lines: CloudWatch reads the embedded metric format from any log group, without a permission or call.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from collections.abc import Mapping
from dataclasses import asdict

from openmwaa_runtime.sync_dags.manifest import LeftOut

LEFT_OUT = "DagObjectsLeftOut"
FAILURES = "DagSyncFailures"
NAMESPACE = "openmwaa"
DIMENSION = "Environment"
CURRENT = "dags_current"
LISTED = 100
"""Objects in one line. A log event has a limit of size; the value counts all of them."""


def left_out_line(environment: str, left_out: Mapping[str, LeftOut], now: float) -> str:
    """Return the line of the objects that a sync left out."""
    listed = [{"key": key, **asdict(found)} for key, found in list(left_out.items())[:LISTED]]
    return _line(environment, LEFT_OUT, len(left_out), now, {"objects": listed})


def failures_line(environment: str, failures: int, error: Exception, now: float) -> str:
    """Return the line of a sync that failed, with the number of failures in a row."""
    return _line(environment, FAILURES, failures, now, {"error": f"{type(error).__name__}: {error}"})


def current_line(files: int, commit: str | None, now: float) -> str:
    """Return the line of a sync that found the source and the folder in step; `commit` is that of a git repository."""
    line = {"event": CURRENT, "checked_at": now, "files": files}
    return json.dumps(line | ({"commit": commit} if commit else {}))


def _line(environment: str, metric: str, value: int, now: float, fields: Mapping[str, object]) -> str:
    metrics = {"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": [{"Name": metric}]}
    aws = {"Timestamp": int(now * 1000), "CloudWatchMetrics": [metrics]}
    return json.dumps({"_aws": aws, DIMENSION: environment, metric: value, **fields})
