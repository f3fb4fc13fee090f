# SPDX-License-Identifier: Apache-2.0
"""The scaler's page behind the login."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3

from openmwaa_runtime.auth import scaler_page
from openmwaa_runtime.auth.scaler_page import PATH, ScalerPage
from tests.support.login_parts import request


def test_a_request_does_not_wait_for_ever_while_others_wait_for_a_scaler_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pools = urllib3.PoolManager(maxsize=1, block=True, retries=False)
    monkeypatch.setattr(urllib3, "PoolManager", lambda **_options: pools)
    monkeypatch.setattr(scaler_page, "MAX_WAIT_S", 0.01)
    page = ScalerPage("http://scaler.invalid:8080", "/login", lambda _token: 200)
    busy = pools.connection_from_url("http://scaler.invalid:8080")
    assert busy.pool is not None
    connection = busy.pool.get()
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(page.handle, request("GET", PATH, headers={"cookie": "_token=viewer"}))
        try:
            assert answer.result(10).status == 503
        finally:
            busy.pool.put(connection)


@pytest.mark.parametrize(
    ("of_airflow", "status"),
    [(401, 303), (403, 403), (500, 503), (504, 503)],
    ids=[
        "an expired session logs in again",
        "a role without DAGs, or a revoked session",
        "an error of Airflow",
        "no answer",
    ],
)
def test_without_a_list_of_dags_there_is_no_page(of_airflow: int, status: int) -> None:
    page = ScalerPage("http://scaler.invalid:8080", "/login", lambda _token: of_airflow)
    answer = page.handle(request("GET", PATH, headers={"cookie": "_token=x"}))
    assert (answer.status, answer.headers.get("Location")) == (status, "/login" if status == 303 else None)


@pytest.mark.parametrize("headers", [{}, {"cookie": "other=1"}, {"authorization": "Basic x"}])
def test_without_a_session_airflow_is_not_called(headers: dict[str, str]) -> None:
    page = ScalerPage("http://scaler.invalid:8080", "/login", lambda _token: pytest.fail("a call without a token"))
    assert page.handle(request("GET", PATH, headers=headers)).status == 303
