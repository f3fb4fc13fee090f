# SPDX-License-Identifier: Apache-2.0
"""SQS as the broker: one queue per worker queue, and a dead-letter queue."""

import json
from collections.abc import Mapping
from typing import Final

from cdktn_provider_aws.sqs_queue import SqsQueue
from constructs import Construct

from cdktf_app.base.policies import policy_json, tls_only
from cdktf_app.base.resource_names import collision_free, truncate_with_hash
from cdktf_app.base.stack_context import StackContext
from cdktf_app.broker.base import CeleryBroker
from openmwaa.config.broker import Sqs

# Workers acknowledge a message before its task starts, so it is in flight for seconds, for any length of task. Five
# minutes allow a slow start, and limit the delay of a message if its worker is killed in between.
VISIBILITY_TIMEOUT_S: Final = 300
_RETENTION_S: Final = 14 * 24 * 3600
_NAME_LIMIT: Final = 80
# SQS accepts at most ten source queues by name.
_NAMED_SOURCES: Final = 10


class SqsBroker(CeleryBroker):
    """The queues of an environment."""

    def __init__(self, scope: Construct, construct_id: str, context: StackContext, config: Sqs) -> None:
        super().__init__(scope, construct_id)
        self._context = context
        environment = context.environment
        prefix = f"airflow-celery-{environment.name}"
        # Queue `letters` of environment `x-dead` would have the name of the dead-letter queue of `x`.
        words = {queue: collision_free(queue, reserved={"letters"}) for queue in environment.queues}
        names = {queue: truncate_with_hash(f"{prefix}-{word}", limit=_NAME_LIMIT) for queue, word in words.items()}
        sources = [self._context.aws_scope.arn("sqs", name) for name in names.values()]
        allowed = (
            {"redrivePermission": "byQueue", "sourceQueueArns": sources}
            if len(sources) <= _NAMED_SOURCES
            else {"redrivePermission": "allowAll"}
        )
        dead_letters = self._queue(
            "dead_letters",
            truncate_with_hash(f"{prefix}-dead-letters", limit=_NAME_LIMIT),
            redrive_allow_policy=_compact(allowed),
        )
        redrive = _compact({"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": config.max_receive_count})
        queues = {queue: self._queue(f"queue_{queue}", name, redrive_policy=redrive) for queue, name in names.items()}
        self.urls = {queue: sqs.url for queue, sqs in queues.items()}
        self.arns = {queue: sqs.arn for queue, sqs in queues.items()}
        self.dead_letter_queue_url = dead_letters.url
        self.for_scaler = {"kind": "sqs"}

    def _queue(self, construct_id: str, name: str, **redrive: str) -> SqsQueue:
        tls = tls_only((self._context.aws_scope.arn("sqs", name),), "sqs:*")
        # Policies as attributes: for separate policy resources the provider waits 25 s each.
        return SqsQueue(
            self,
            construct_id,
            name=name,
            kms_master_key_id=self._context.key_arn,
            visibility_timeout_seconds=VISIBILITY_TIMEOUT_S,
            message_retention_seconds=_RETENTION_S,
            redrive_policy=redrive.get("redrive_policy"),
            redrive_allow_policy=redrive.get("redrive_allow_policy"),
            policy=policy_json(self, f"{construct_id}_tls_only", [tls]),
        )


def _compact(document: Mapping[str, object]) -> str:
    """Return JSON without spaces, as the provider compares it."""
    return json.dumps(document, separators=(",", ":"))
