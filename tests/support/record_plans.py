# SPDX-License-Identifier: Apache-2.0
"""Records the plans of tests/support/recorded_plan.py again: `python -m tests.support.record_plans`.

It needs Terraform with its AWS provider, and takes about five minutes. Nothing is applied: the state is made up.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from openmwaa.plan.changes import read
from openmwaa.plan.verdict import Verdict, judge
from tests.support.emulator import find_emulator, running_emulator
from tests.support.recorded_plan import CHANGES, FOLDER, STATE_FILE, Json, as_text, environment, stripped
from tests.support.settled_terraform import SettledTerraform


def record() -> Iterator[tuple[Path, str]]:
    """Yield every recording with its text, of plans that Terraform makes now."""
    with running_emulator(find_emulator(), services="") as url, tempfile.TemporaryDirectory() as folder:
        terraform = SettledTerraform(Path(folder), url)
        terraform.settle(environment("none"))
        nothing = stripped(terraform.plan(environment("none")))
        unwritten = {resource["address"] for resource in nothing["resource_changes"]}
        yield STATE_FILE, as_text(nothing.pop("prior_state")) + "\n"
        for name in CHANGES:
            plan = terraform.plan(environment(name))
            kept = stripped(plan)
            assert _judged(kept, name) == _judged(plan, name), f"{name}: a field is missing that openmwaa/plan reads"
            kept = stripped(plan, unwritten)
            kept.pop("prior_state")
            yield FOLDER / f"{name}.json", as_text(kept) + "\n"


def _judged(plan: Json, name: str) -> Verdict:
    """The verdict without the state, which is longer in a plan that is not stripped."""
    verdict = judge(read(plan), environment(name))
    return replace(verdict, plan=replace(verdict.plan, before=()))


def main() -> None:
    """Write every recording."""
    for file, text in record():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
