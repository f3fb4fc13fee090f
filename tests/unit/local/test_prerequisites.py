# SPDX-License-Identifier: Apache-2.0
"""One message names all missing programs and their sources."""

from collections.abc import Sequence

import pytest

from openmwaa.local.errors import PrerequisiteError
from openmwaa.local.install.prerequisites import check

TERRAFORM = '\nWarning: something\n{"terraform_version": "%s", "platform": "linux_amd64"}'


def machine(terraform: str | None = "1.11.4", node: str | None = "v20.20.2", system: str = "Linux") -> str:
    def which(name: str) -> str | None:
        return {"terraform": terraform and "/bin/terraform", "node": node and "/bin/node"}[name]

    def run(command: Sequence[str]) -> str | None:
        return TERRAFORM % terraform if command[0] == "/bin/terraform" else node

    return check(which=which, run=run, system=system, has_package=lambda _: True)


@pytest.mark.parametrize("terraform", ["1.11.0", "1.15.2", "2.0.0-beta1"])
def test_a_machine_with_all_prerequisites(terraform: str) -> None:
    assert machine(terraform) == "/bin/terraform"


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"terraform": None}, "no `terraform` on PATH. https://"),
        ({"terraform": "1.10.5"}, "Terraform 1.11 or newer: /bin/terraform is 1.10.5"),
        ({"terraform": "?"}, "prints no version"),
        ({"node": None}, "no `node` on PATH. https://"),
        ({"node": "v18.1.0"}, "Node.js 20 or newer: /bin/node is 18.1.0"),
        ({"system": "Darwin"}, "Use a Linux machine"),
    ],
    ids=["no terraform", "old terraform", "odd terraform", "no node", "old node", "not linux"],
)
def test_a_missing_prerequisite_is_named(missing: dict[str, str | None], message: str) -> None:
    with pytest.raises(PrerequisiteError) as caught:
        machine(**missing)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_all_that_is_missing_is_in_one_message() -> None:
    with pytest.raises(PrerequisiteError) as caught:
        machine(None, None, "Darwin")
    assert [line.split(" ")[1].rstrip(":") for line in str(caught.value).splitlines()[1:]] == [
        "Linux",
        "Terraform",
        "Node.js",
    ]


def test_a_missing_extra_is_named() -> None:
    with pytest.raises(PrerequisiteError, match=r"aiobotocore.*its extra `local`"):
        check(
            which=lambda n: f"/bin/{n}", run=lambda _: '22 {"terraform_version": "1.12"}', has_package=lambda _: False
        )
