# SPDX-License-Identifier: Apache-2.0
"""What people, programs and pull requests are given to read."""

import json

from openmwaa.plan import render
from tests.unit.plan.conftest import verdict_of


def test_people_read_parts_of_the_environment() -> None:
    text = render.text("example", verdict_of("capacity"))
    first, *rest = text.splitlines()
    assert first == "Environment example: 10 changed in place, 8 new revision."
    assert "Workers" in rest
    assert "  ~ aws_ecs_service.fleets_default_a changed in place" in rest
    assert rest.index("Airflow's control plane") < rest.index("Scaler") < rest.index("Workers")
    assert "Other" not in rest, "a resource is of no part: add its word to changes._PARTS"


def test_people_read_last_why_it_is_refused() -> None:
    lines = render.text("example", verdict_of("key")).splitlines()
    refused = lines.index("REFUSED: this plan must not be applied.")
    assert lines[refused + 1].startswith("  `kms_key`: was its own and is now arn:aws:kms:")
    assert "  -/+ aws_rds_cluster.metadata_database replaced, for kms_key_id cannot change" in lines[:refused]


def test_much_that_is_only_added_is_one_line() -> None:
    text = render.text("example", verdict_of("broker"))
    assert "added" in text
    assert all(not part.startswith("  +  aws") for part in text.splitlines())


def test_no_changes_are_one_line() -> None:
    verdict = verdict_of("none")
    assert render.text("example", verdict) == ("Environment example: No changes: what exists is what the file says.")
    assert render.markdown("example", verdict).splitlines()[0] == "### Plan of `example`: no changes"


def test_a_pull_request_gets_the_verdict_first_and_the_rest_folded() -> None:
    text = render.markdown("example", verdict_of("db"))
    heading, _, summary, _, refused, _, reason = text.splitlines()[:7]
    assert heading == "### Plan of `example`: refused"
    assert "replaced" in summary or "destroyed" in summary
    assert refused == "**This plan must not be applied.**"
    assert reason.startswith("- `metadata_database.kind`: ")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {7}, "GitHub shows a ragged table as text"
    assert text.count("<details>") == text.count("</details>") == 1
    assert text.count("```") == 2


def test_programs_read_json() -> None:
    verdict = verdict_of("renamed")
    document = json.loads(json.dumps(render.document("other", verdict, plan_file=None)))
    assert (document["verdict"], document["exit_code"], document["plan_file"]) == ("refused", 4, None)
    assert [one["field"] for one in document["refusals"]] == ["name"]
    assert sum(document["counts"].values()) == len(document["changes"])
    worker = next(one for one in document["changes"] if one["address"] == "aws_ecs_service.fleets_etl_a")
    assert (worker["action"], worker["part"]) == ("replace", "Workers")
    assert worker["replaced_for"][0]["path"] == "cluster"
