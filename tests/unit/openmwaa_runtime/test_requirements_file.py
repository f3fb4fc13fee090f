# SPDX-License-Identifier: Apache-2.0
"""The lines of a requirements.txt: the forms that pip in MWAA reads, each line with its number."""

import pytest

from openmwaa_runtime.artefacts.requirements_file import (
    Requirement,
    RequirementsError,
    RequirementsFile,
    read,
    redacted,
    with_own_hashes,
)
from openmwaa_runtime.artefacts.resolver import pins_of_lock, uv_environment

OFFICIAL = "https://raw.githubusercontent.com/apache/airflow/constraints-{}/constraints-3.12.txt"


def reading(text: str) -> RequirementsFile:
    folders = {"/usr/local/airflow/plugins": "/plugins"}
    return read(text, airflow_version="3.3.2", folders=folders, environ={"TOKEN": "t"})


def test_comments_continuations_and_blank_lines_keep_the_numbers_of_lines() -> None:
    found = reading(
        "\ufeff# a comment\r\n\r\nrequests==2.32  # pinned\r\nboto3 \\\r\n  >=1.40\r\nx @ https://h/x#egg=x\r\n"
    )
    assert found.requirements == (
        Requirement(3, "requests==2.32"),
        Requirement(4, "boto3   >=1.40"),
        Requirement(6, "x @ https://h/x#egg=x"),
    )


def test_a_backslash_at_the_end_of_a_comment_joins_no_line() -> None:
    found = reading("# in C:\\dags\\\nrequests \\\n  # pinned \\\nsix")
    assert found.requirements == (Requirement(2, "requests"), Requirement(4, "six"))


def test_hashes_are_read_and_replace_those_of_the_index() -> None:
    found = reading("six==1.16.0 \\\n  --hash=sha256:aa --hash sha256:bb\nb @ https://h/b.whl --hash=sha256:cc\nd==1")
    assert found.requirements[0] == Requirement(1, "six==1.16.0", ("sha256:aa", "sha256:bb"))
    lock = "{} \\\n    --hash=sha256:00 \\\n    --hash=sha256:01"
    text = "\n".join(lock.format(line) for line in ("b @ https://h/b.whl", "d==1", "six==1.16.0"))
    assert with_own_hashes(text, found.requirements).splitlines() == [
        "b @ https://h/b.whl --hash=sha256:cc",
        *lock.format("d==1").splitlines(),
        "six==1.16.0 --hash=sha256:aa --hash=sha256:bb",
    ]


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("--index-url https://h/simple", "--index-url https://h/simple"),
        ("-i https://h/simple", "--index-url https://h/simple"),
        ("-ihttps://h/simple", "--index-url https://h/simple"),
        ('--extra-index-url="https://u:${TOKEN}@h/simple"', "--extra-index-url https://u:t@h/simple"),
        ("-i https://${NOT_SET}@h/simple", "--index-url https://${NOT_SET}@h/simple"),
        ("-f /usr/local/airflow/plugins/wheels", "--find-links /plugins/wheels"),
        ("--no-index", "--no-index"),
        ("--only-binary :all:", "--only-binary :all:"),
    ],
)
def test_options_of_the_index_stay_lines_of_the_file(line: str, option: str) -> None:
    found = reading(line)
    assert (found.options, found.arguments, found.notes) == ((option,), (), ())
    assert found.no_index == (option == "--no-index")


def test_other_options_are_arguments_or_have_no_effect() -> None:
    found = reading("--trusted-host h\n--pre\n--prefer-binary")
    assert found.arguments == ("--allow-insecure-host", "h", "--prerelease", "allow")
    assert found.notes == ("line 3: --prefer-binary has no effect here; every package is checked by its hash",)


@pytest.mark.parametrize("form", ['--constraint "{}"', "-c {}", "--constraint={}"])
def test_the_official_constraints_are_replaced_with_a_note(form: str) -> None:
    note = "line 1: the lock file of Airflow 3.3.2 replaces the constraints"
    assert reading(form.format(OFFICIAL.format("3.3.2"))).notes == (note,)
    assert reading(form.format(OFFICIAL.format("2.9.2"))).notes == (f"{note} (the line names Airflow 2.9.2)",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-r more.txt", "line 2: --requirement is not available; write the requirements into this file"),
        ("-e .", "line 2: --editable is not available"),
        ("-c https://u:p@h/c.txt", r"line 2: the constraints https://\*\*\*\*@h/c.txt are not available"),
        ('--index-url "x', "line 2: No closing quotation"),
        ("https://h/a.whl --hash=sha256:aa", "line 2: a hash needs the name of its package"),
    ],
)
def test_what_is_not_available_is_refused_with_its_line(line: str, message: str) -> None:
    with pytest.raises(RequirementsError, match=f"^{message}"):
        reading(f"a\n{line}")


@pytest.mark.parametrize(
    ("text", "name", "pinned"),
    [
        ("Foo_Bar[x,y] >=1,<2 ; python_version < '3'", "foo-bar", "Foo_Bar[x,y]==3 ; python_version < '3'"),
        ("a", "a", "a==3"),
        ("a @ https://h/a.whl", None, "a @ https://h/a.whl"),
        ("/plugins/a-1-py3-none-any.whl", None, "/plugins/a-1-py3-none-any.whl"),
    ],
)
def test_a_requirement_gets_another_version(text: str, name: str | None, pinned: str) -> None:
    assert (Requirement(1, text).name, Requirement(1, text).pinned("3")) == (name, pinned)


def test_passwords_of_addresses_are_not_shown() -> None:
    assert redacted("https://u:p@ss@h/x@2 https://h/x@2") == "https://****@h/x@2 https://h/x@2"
    assert redacted("a https://u:p@h/x, git+ssh://git@h/y") == "a https://****@h/x, git+ssh://****@h/y"


def test_a_lock_file_is_read_without_hashes() -> None:
    hashed = "{} \\\n    --hash=sha256:0\n    # via c\n"
    text = hashed.format("a-b==1.0") + hashed.format("c[d]==2 ; python_version > '3'") + "# x==1\n"
    assert pins_of_lock(text) == ["a-b==1.0", "c[d]==2 ; python_version > '3'"]


def test_the_variables_of_pip_have_their_effect_and_those_of_uv_win() -> None:
    environ = {"PIP_INDEX_URL": "a", "PIP_EXTRA_INDEX_URL": "b  c", "PIP_FIND_LINKS": "d e", "PYTHONPATH": "/x"}
    environ["OPENMWAA_DATABASE_MASTER"] = "a password: builds run code of packages"
    wanted = {"UV_DEFAULT_INDEX": "a", "UV_INDEX": "b c", "UV_FIND_LINKS": "d,e"}
    found = uv_environment(environ)
    assert {name: value for name, value in found.items() if not name.startswith("PIP_")} == wanted
    assert uv_environment({**environ, "UV_INDEX": "z"})["UV_INDEX"] == "z"


@pytest.mark.parametrize(("line", "left"), [("--index-url https://h/simple", ["A"]), ("x", ["A", "PIP_INDEX_URL"])])
def test_an_index_of_the_file_replaces_that_of_the_variable(line: str, left: list[str]) -> None:
    assert [*reading(line).variables({"A": "1", "PIP_INDEX_URL": "https://other"})] == left
