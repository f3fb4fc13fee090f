# SPDX-License-Identifier: Apache-2.0
"""Which generation of a fleet is current, how far a rollout is, and when the next one has to wait."""

from pathlib import Path

import pytest

from openmwaa.local.errors import RolloutUnfinishedError
from openmwaa.local.fleets import fleets
from openmwaa.local.rollout import refuse_a_second, sentences
from openmwaa.local.terraform.fingerprint import Applied, worker_hashes
from tests.unit.local.test_health import generations, service, status

FILE = Path("/e/environment.yaml")


def test_the_newer_revision_is_current_and_who_is_left_is_told() -> None:
    (fleet,) = fleets([service(), *generations(a=(3, 2, 1), b=(2, 4, 4))])
    assert (fleet.name, fleet.current.service) == ("default", "worker-default-a")
    assert fleet.sentence == "default: 4 workers of revision 2 end their tasks, 1 of revision 3 took over"
    data = fleet.as_data()
    assert (data["rollout"], data["running"], data["revision"]) == ("unfinished", 5, 3)
    assert set(data["generations"]) == {"worker-default-a", "worker-default-b"}


def test_of_one_revision_the_generation_with_workers_is_current() -> None:
    (fleet,) = fleets(generations(a=(1, 1, 1), b=(1, 0, 0)))
    assert fleet.current.service == "worker-default-a"
    assert fleet.sentence is None


def test_fleets_whose_names_look_alike_stay_apart() -> None:
    names = ["worker-x-a", "worker-x-b", "worker-x-a-a", "worker-x-a-b", "worker-other", "scaler"]
    found = fleets([service(name) | {"task_definition": "f:1"} for name in names])
    assert [fleet.name for fleet in found] == ["x", "x-a"]


def test_a_second_rollout_waits_for_the_first() -> None:
    unfinished = status(*generations(a=(1, 2, 2), b=(2, 2, 2)))
    with pytest.raises(RolloutUnfinishedError, match=r"2 workers of revision 1 .*openmwaa wait --for workers --local"):
        refuse_a_second(unfinished, {"default"}, file=FILE)
    refuse_a_second(unfinished, {"other"}, file=FILE)
    refuse_a_second(status(*generations(a=(1, 0, 0), b=(2, 2, 2))), {"default"}, file=FILE)
    refuse_a_second(None, {"default"}, file=FILE)


def test_what_becomes_of_the_workers_is_told() -> None:
    unfinished = status(*generations(a=(1, 2, 2), b=(2, 2, 1)))
    (told,) = sentences(unfinished, {"default"}, file=FILE)
    assert told == (
        "default: 2 workers of revision 1 end their tasks, 1 of revision 2 took over. "
        "`openmwaa rollout --local /e/environment.yaml` tells how far it is"
    )
    finished = status(*generations(a=(1, 0, 0), b=(2, 2, 2)))
    assert list(sentences(finished, {"default"}, file=FILE)) == ["default: its workers run revision 2 now"]
    assert not list(sentences(finished, set(), file=FILE))


def test_only_what_workers_are_made_of_is_a_new_revision(tmp_path: Path) -> None:
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
    Applied("inputs", "result", first).write(tmp_path / "applied.json")
    assert Applied.read(tmp_path / "applied.json") == Applied("inputs", "result", first)
