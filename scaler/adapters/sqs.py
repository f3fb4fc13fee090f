# SPDX-License-Identifier: Apache-2.0
"""SQS as the broker: three attributes of a queue, read directly.

kombu is not used: its `size` creates a missing queue and leaves out the messages in flight.
"""

from typing import Any

from scaler.adapters.aws import aws_call
from scaler.adapters.deadline import natural
from scaler.core.model import BrokerCount

SOURCE = "sqs"
VISIBLE = "ApproximateNumberOfMessages"
IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"
DELAYED = "ApproximateNumberOfMessagesDelayed"


class SqsQueueReader:
    """The port `BrokerPort`."""

    def __init__(self, client: Any, *, deadline_s: float = 2.0) -> None:
        self._client = client
        self._deadline_s = deadline_s

    async def depth(self, queue_url: str) -> BrokerCount:
        """Return visible, in flight (received and not deleted) and delayed messages; exact after at most a minute."""
        async with aws_call(SOURCE, self._deadline_s):
            answer = await self._client.get_queue_attributes(
                QueueUrl=queue_url, AttributeNames=[VISIBLE, IN_FLIGHT, DELAYED]
            )
            attributes = answer["Attributes"]
            return BrokerCount(
                visible=natural(SOURCE, VISIBLE, attributes[VISIBLE]),
                in_flight=natural(SOURCE, IN_FLIGHT, attributes[IN_FLIGHT]),
                delayed=natural(SOURCE, DELAYED, attributes[DELAYED]),
            )
