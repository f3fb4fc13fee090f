# SPDX-License-Identifier: Apache-2.0
"""An SQS queue of the emulator, with messages of a Celery client."""

import json
import os
import uuid
from collections.abc import Iterable
from typing import Any, Literal

import boto3
import pytest
from celery import Celery

from tests.support.emulator import child_environment


class SqsQueue:
    """An SQS queue; its client uses the emulator directly."""

    broker = "sqs://"
    """The URL of the broker for Celery."""

    def __init__(self, emulator: str, name: str, visibility_s: int, *, max_receives: int | None = None) -> None:
        self.client = boto3.client(
            "sqs",
            endpoint_url=emulator,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.name = name
        redrive = {}
        if max_receives is not None:
            dead = self.client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
            arn = self.client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            redrive["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": max_receives})
        fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        attributes: Any = {"VisibilityTimeout": str(visibility_s), **redrive, **fifo}
        self.url = self.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    @classmethod
    def of_its_own(
        cls, emulator: str, prefix: str, visibility_s: int, *, max_receives: int | None = None
    ) -> "SqsQueue":
        """Create a queue with a unique name: a long poll of a killed worker takes the next message."""
        return cls(emulator, f"{prefix}-{uuid.uuid4()}", visibility_s, max_receives=max_receives)

    def counts(self) -> tuple[int, int]:
        """Visible and hidden messages."""
        visible: Literal["ApproximateNumberOfMessages"] = "ApproximateNumberOfMessages"
        hidden: Literal["ApproximateNumberOfMessagesNotVisible"] = "ApproximateNumberOfMessagesNotVisible"
        answer = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=[visible, hidden])
        return int(answer["Attributes"][visible]), int(answer["Attributes"][hidden])

    def give_back(self, times: int) -> None:
        """Receive the waiting message and make it visible again, `times` times."""
        for _ in range(times):
            (message,) = self.client.receive_message(QueueUrl=self.url, WaitTimeSeconds=5)["Messages"]
            self.client.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )

    def publish(self, task: str, arguments: Iterable[tuple[Any, ...]]) -> None:
        """Send a Celery message for each tuple of arguments."""
        options: dict[str, Any] = {"predefined_queues": {self.name: {"url": self.url}}, "is_secure": False}
        app = Celery("client", broker="sqs://test:test@", broker_transport_options=options, set_as_current=False)
        app.conf.task_default_queue = self.name
        endpoint = {"AWS_ENDPOINT_URL_SQS": self.client.meta.endpoint_url, "AWS_DEFAULT_REGION": "us-east-1"}
        with pytest.MonkeyPatch.context() as patch, app.connection_for_write() as connection:
            for name, value in endpoint.items():
                patch.setenv(name, value)
            for name in set(os.environ) - set(child_environment()):
                patch.delenv(name)
            for values in arguments:
                app.send_task(task, values, connection=connection, ignore_result=True)
