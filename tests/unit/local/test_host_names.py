# SPDX-License-Identifier: Apache-2.0
"""The emulator's host names are replaced in every value, and no other text is."""

import pytest

from openmwaa.local.services.host_names import replacer

LB = "openmwaa-x-1a2b.us-east-1.elb.amazonaws.com"
DB = "openmwaa-x.cluster-f0e5.us-east-1.rds.amazonaws.com"
replace = replacer({LB: "127.20.0.4"}, database="127.20.0.3")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (DB, "127.20.0.3"),
        (f"http://{LB}:8081/execution/", "http://127.20.0.4:8081/execution/"),
        (f'{{"database":{{"host":"{DB}","port":5432}}}}', '{"database":{"host":"127.20.0.3","port":5432}}'),
        (f"{DB},{LB}.", "127.20.0.3,127.20.0.4."),
        (f"not-{LB}", f"not-{LB}"),
        (f"{LB}.example", f"{LB}.example"),
        ("http://127.20.0.1:4566/123456789012/q", "http://127.20.0.1:4566/123456789012/q"),
        ("", ""),
    ],
)
def test_replacing(value: str, expected: str) -> None:
    assert replace(value) == expected


def test_database_names_are_replaced_before_the_first_refresh() -> None:
    assert replacer({}, database="127.20.0.3")(DB) == "127.20.0.3"
