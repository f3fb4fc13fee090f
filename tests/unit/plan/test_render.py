# SPDX-License-Identifier: Apache-2.0
"""The output for terminals, programs and pull requests."""

import json

from openmwaa.plan import render
from tests.unit.plan.conftest import verdict_of


def test_the_text_is_grouped_by_part() -> None:
    text = render.text("example", verdict_of("capacity"))
    first, *rest = text.splitlines()
    assert first == "Environment example: 10 changed in place, 8 new revision."
    assert "Workers" in rest
    assert "  ~ aws_ecs_service.fleets_default_a changed in place" in rest
    assert rest.index("Airflow's control plane") < rest.index("Scaler") < rest.index("Workers")
    assert "Other" not in rest, "a resource has no part: add its prefix to changes._PARTS"


def test_the_text_ends_with_the_refusals() -> None:
    lines = render.text("example", verdict_of("key")).splitlines()
    refused = lines.index("REFUSED: this plan must not be applied.")
    assert lines[refused + 1].startswith("  `kms_key`: was its own and is now arn:aws:kms:")
    assert "  -/+ aws_rds_cluster.metadata_database replaced because kms_key_id cannot change" in lines[:refused]


def test_many_additions_are_one_line() -> None:
    text = render.text("example", verdict_of("broker"))
    assert "added" in text
    assert all(not part.startswith("  +  aws") for part in text.splitlines())


def test_no_changes_are_one_line() -> None:
    verdict = verdict_of("none")
    assert render.text("example", verdict) == ("Environment example: No changes: the resources match the file.")
    assert render.markdown("example", verdict).splitlines()[0] == "### Plan of `example`: no changes"


def test_markdown_has_the_verdict_first_and_a_folded_list() -> None:
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


def test_the_json_document() -> None:
    verdict = verdict_of("renamed")
    document = json.loads(json.dumps(render.document("other", verdict, plan_file=None)))
    assert (document["verdict"], document["exit_code"], document["plan_file"]) == ("refused", 4, None)
    assert [refusal["field"] for refusal in document["refusals"]] == ["name"]
    assert sum(document["counts"].values()) == len(document["changes"])
    worker = next(change for change in document["changes"] if change["address"] == "aws_ecs_service.fleets_etl_a")
    assert (worker["action"], worker["part"]) == ("replace", "Workers")
    assert worker["replaced_for"][0]["path"] == "cluster"
