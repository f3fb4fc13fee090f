# SPDX-License-Identifier: Apache-2.0
"""The current service of a fleet, the progress of its rollout, and the refusal of a second rollout."""

from pathlib import Path

import pytest

from openmwaa.commands import command
from openmwaa.local.errors import RolloutUnfinishedError
from openmwaa.local.health import fleets, refuse_second_rollout, rollout_sentences
from openmwaa.local.terraform.fingerprint import Fingerprint, worker_hashes
from tests.unit.local.test_health import service, status, worker_services

FILE = Path("/e/environment.yaml")


def test_the_newer_revision_is_current_and_workers_of_the_older_are_counted() -> None:
    (fleet,) = fleets(status(service(), *worker_services(a=(3, 2, 1), b=(2, 4, 4))))
    assert (fleet.fleet, fleet.current.service) == ("default", "worker-default-a")
    assert fleet.sentence == "default: 4 workers of older revisions left, 1 worker of revision 3 running"
    data = fleet.as_data()
    assert (data["finished"], data["running"], data["revision"]) == (False, 5, 3)
    assert set(data["services"]) == {"worker-default-a", "worker-default-b"}


def test_of_two_services_with_one_revision_the_one_with_workers_is_current() -> None:
    (fleet,) = fleets(status(*worker_services(a=(1, 1, 1), b=(1, 0, 0))))
    assert fleet.current.service == "worker-default-a"
    assert fleet.finished


def test_fleets_with_similar_names_are_not_mixed() -> None:
    names = ["worker-x-a", "worker-x-b", "worker-x-a-a", "worker-x-a-b", "worker-other", "scaler"]
    found = fleets(status(*(service(name) | {"task_definition": "f:1"} for name in names)))
    assert [fleet.fleet for fleet in found] == ["x", "x-a"]


def test_a_second_rollout_is_refused_during_the_first() -> None:
    unfinished = status(*worker_services(a=(1, 2, 2), b=(2, 2, 2)))
    with pytest.raises(
        RolloutUnfinishedError, match=r"2 workers of older revisions .*openmwaa wait --for workers /e/environment.yaml"
    ):
        refuse_second_rollout(unfinished, {"default"}, file=FILE)
    refuse_second_rollout(unfinished, {"other"}, file=FILE)
    refuse_second_rollout(status(*worker_services(a=(1, 0, 0), b=(2, 2, 2))), {"default"}, file=FILE)
    refuse_second_rollout(None, {"default"}, file=FILE)


def test_up_reports_the_rollout_of_changed_fleets() -> None:
    unfinished = status(*worker_services(a=(1, 2, 2), b=(2, 2, 1)))
    (sentence,) = rollout_sentences(unfinished, {"default"}, file=FILE)
    assert sentence == (
        "default: 2 workers of older revisions left, 1 worker of revision 2 running. "
        f"Follow it with `{command('rollout', file=FILE)}`"
    )
    finished = status(*worker_services(a=(1, 0, 0), b=(2, 2, 2)))
    assert list(rollout_sentences(finished, {"default"}, file=FILE)) == ["default: its workers run revision 2"]
    assert not list(rollout_sentences(finished, set(), file=FILE))


def test_only_a_changed_task_definition_of_workers_is_a_new_revision(tmp_path: Path) -> None:
    def document(image: str, cpu: str, minimum: int, slots: str = "5") -> dict[str, object]:
        return {
            "locals": {
                "fleets_x_containers": [{"name": "dag-syncer"}, {"name": "worker", "image": image}],
                "fleets_x_worker_environment": {"OPENMWAA_WORKER_SLOTS": slots},
                "airflow_scheduler_containers": [],
                "scaler_config": {"min": minimum},
            },
            "resource": {"aws_ecs_task_definition": {"fleets_x": {"cpu": cpu}, "airflow_scheduler": {"cpu": cpu}}},
        }

    first = worker_hashes(document("i:1", "256", 1))
    assert set(first) == {"x"}
    assert first == worker_hashes(document("i:1", "256", 2))
    assert first["x"] != worker_hashes(document("i:2", "256", 1))["x"]
    assert first["x"] != worker_hashes(document("i:1", "512", 1))["x"]
    assert first["x"] != worker_hashes(document("i:1", "256", 1, slots="6"))["x"]
    Fingerprint("inputs", "result", first).write(tmp_path / "applied.json")
    assert Fingerprint.read(tmp_path / "applied.json") == Fingerprint("inputs", "result", first)
