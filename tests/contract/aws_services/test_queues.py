# SPDX-License-Identifier: Apache-2.0
"""SQS as the scaler counts it and as Celery's kombu uses it."""

from collections.abc import Iterator

import kombu
import pytest

from scaler.adapters.sqs import SqsQueueReader
from scaler.core.model import BrokerCount
from scaler.errors import SourceError
from tests.contract.aws_services.conftest import CREDENTIALS, REGION, Emulator, Open

pytestmark = [pytest.mark.emulated]


@pytest.fixture
def queue_url(emulator: Emulator, name: str) -> str:
    url: str = emulator.client("sqs").create_queue(QueueName=name, Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    return url


async def test_an_empty_queue_is_counted_as_empty(scalers_client: Open, queue_url: str) -> None:
    assert await SqsQueueReader(await scalers_client("sqs")).depth(queue_url) == BrokerCount(
        visible=0, in_flight=0, delayed=0
    )


async def test_visible_in_flight_and_delayed_messages_are_told_apart(
    emulator: Emulator, scalers_client: Open, queue_url: str
) -> None:
    sqs = emulator.client("sqs")
    for _ in range(3):
        sqs.send_message(QueueUrl=queue_url, MessageBody="{}")
    sqs.send_message(QueueUrl=queue_url, MessageBody="{}", DelaySeconds=900)
    sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=1)
    broker = SqsQueueReader(await scalers_client("sqs"))
    assert await broker.depth(queue_url) == BrokerCount(visible=2, in_flight=1, delayed=1)


async def test_a_message_that_is_given_back_is_visible_again(
    emulator: Emulator, scalers_client: Open, queue_url: str
) -> None:
    sqs = emulator.client("sqs")
    sqs.send_message(QueueUrl=queue_url, MessageBody="{}")
    (message,) = sqs.receive_message(QueueUrl=queue_url)["Messages"]
    sqs.change_message_visibility(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert await SqsQueueReader(await scalers_client("sqs")).depth(queue_url) == BrokerCount(
        visible=1, in_flight=0, delayed=0
    )


async def test_a_queue_that_is_not_there_is_unknown_and_not_empty(scalers_client: Open, queue_url: str) -> None:
    with pytest.raises(SourceError):
        await SqsQueueReader(await scalers_client("sqs")).depth(f"{queue_url}-gone")


@pytest.fixture
def connection(emulator: Emulator, queue_url: str, name: str) -> Iterator[kombu.Connection]:
    """Kombu with a queue that exists, as workers have it: it creates none."""
    options = {
        "region": REGION,
        "is_secure": False,
        "predefined_queues": {
            name: {
                "url": queue_url,
                "access_key_id": CREDENTIALS["aws_access_key_id"],
                "secret_access_key": CREDENTIALS["aws_secret_access_key"],
            }
        },
    }
    host = emulator.url.removeprefix("http://")
    with kombu.Connection(f"sqs://test:test@{host}", transport_options=options) as connection:
        yield connection


async def test_kombu_sends_receives_and_deletes(
    connection: kombu.Connection, scalers_client: Open, queue_url: str, name: str
) -> None:
    broker = SqsQueueReader(await scalers_client("sqs"))
    queue = connection.SimpleQueue(name)
    queue.put({"task": "one"})
    assert await broker.depth(queue_url) == BrokerCount(visible=1, in_flight=0, delayed=0)
    message = queue.get(timeout=10)
    assert message.payload == {"task": "one"}
    assert await broker.depth(queue_url) == BrokerCount(visible=0, in_flight=1, delayed=0)
    message.ack()
    assert await broker.depth(queue_url) == BrokerCount(visible=0, in_flight=0, delayed=0)
