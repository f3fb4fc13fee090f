# SPDX-License-Identifier: Apache-2.0
"""The syncer's S3 requests, checked against botocore's model."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from botocore.session import Session
from botocore.stub import Stubber

from openmwaa_runtime.sync_dags.bucket import S3Bucket
from openmwaa_runtime.sync_dags.manifest import SourceObject


@pytest.fixture
def client() -> Iterator[tuple[Any, Stubber]]:
    made = Session().create_client("s3", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(made) as stubber:
        yield made, stubber
    stubber.assert_no_pending_responses()
    made.close()


def test_every_page_is_listed(client: tuple[Any, Stubber]) -> None:
    made, stubber = client
    page = {
        "Contents": [{"Key": "dags/a.py", "ETag": '"1"', "Size": 3}],
        "IsTruncated": True,
        "NextContinuationToken": "t",
    }
    stubber.add_response("list_objects_v2", page, {"Bucket": "b", "Prefix": "dags/"})
    last = {"Contents": [{"Key": "dags/b.py", "ETag": '"2"', "Size": 0}], "IsTruncated": False}
    stubber.add_response("list_objects_v2", last, {"Bucket": "b", "Prefix": "dags/", "ContinuationToken": "t"})
    found = list(S3Bucket("b", "/dags", client=made).list())
    assert found == [SourceObject("dags/a.py", '"1"', 3), SourceObject("dags/b.py", '"2"', 0)]


@pytest.mark.parametrize("token", [{}, {"NextContinuationToken": ""}], ids=["no token", "empty token"])
def test_a_listing_without_its_next_page_is_an_error(client: tuple[Any, Stubber], token: dict[str, str]) -> None:
    page = {"Contents": [{"Key": "dags/a.py", "ETag": '"1"', "Size": 3}], "IsTruncated": True, **token}
    client[1].add_response("list_objects_v2", page, {"Bucket": "b", "Prefix": ""})
    with pytest.raises(OSError, match="incomplete"):
        list(S3Bucket("b", "", client=client[0]).list())


def test_an_empty_bucket_has_no_contents(client: tuple[Any, Stubber]) -> None:
    client[1].add_response("list_objects_v2", {"IsTruncated": False}, {"Bucket": "b", "Prefix": ""})
    assert list(S3Bucket("b", "", client=client[0]).list()) == []


GET = {"Bucket": "b", "Key": "dags/a.py"}
SOURCE = SourceObject("dags/a.py", '"1"', 3)


def test_an_object_is_returned_as_it_was_at_the_download(client: tuple[Any, Stubber], tmp_path: Path) -> None:
    answer = {"Body": StreamingBody(io.BytesIO(b"abcd"), 4), "ETag": '"2"', "ContentLength": 4}
    client[1].add_response("get_object", answer, GET)
    found = S3Bucket("b", "dags", client=client[0]).fetch([(SOURCE, tmp_path / "a.py")])
    assert found == {SOURCE: SourceObject("dags/a.py", '"2"', 4)}
    assert (tmp_path / "a.py").read_bytes() == b"abcd"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        pytest.param("InvalidObjectState", 403, id="archived in Glacier"),
        pytest.param("AccessDenied", 403, id="access or KMS denied"),
        pytest.param("KMS.DisabledException", 400, id="key disabled"),
        pytest.param("NoSuchKey", 404, id="deleted after the listing"),
    ],
)
def test_a_refusal_of_one_object_is_an_answer(
    client: tuple[Any, Stubber], tmp_path: Path, code: str, status: int
) -> None:
    client[1].add_client_error("get_object", code, http_status_code=status, expected_params=GET)
    assert S3Bucket("b", "dags", client=client[0]).fetch([(SOURCE, tmp_path / "a.py")]) == {SOURCE: code}


@pytest.mark.parametrize(("code", "status"), [("InternalError", 500), ("SlowDown", 503), ("ExpiredToken", 400)])
def test_a_refusal_of_every_object_is_an_error(
    client: tuple[Any, Stubber], tmp_path: Path, code: str, status: int
) -> None:
    client[1].add_client_error("get_object", code, http_status_code=status, expected_params=GET)
    with pytest.raises(ClientError, match=code):
        S3Bucket("b", "dags", client=client[0]).fetch([(SOURCE, tmp_path / "a.py")])
