# SPDX-License-Identifier: Apache-2.0
"""A value of a file is the text in the file, and every file that cannot be read has one line with the reason."""

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openmwaa.config.environment_file import load, loads
from openmwaa.config.yaml_reader import MAX_BYTES, MAX_DEPTH, MAX_VALUES, read_text, read_yaml
from openmwaa.errors import EnvironmentFileError
from tests.support.environments import LEAST_YAML

FILE = Path("environment.yaml")


def _error(text: str) -> str:
    with pytest.raises(EnvironmentFileError) as caught:
        loads(text, FILE)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *("22:30", "010", "0x1F", "1.10", "0042", "1_000", "0b11", "0o17", "1e3", ".5", "5.", "+5", "-0", "1:1"),
        *("yes", "no", "On", "OFF", "2026-11-29", "2026-13-45", "2026-11-29 10:00:00", ".inf", ".nan", "="),
        "9" * 30,
        "9" * 200,
    ],
    ids=lambda text: text[:30],
)
@pytest.mark.parametrize(
    "place", ["tags: {{a: {}}}", "tags: {{{}: a}}", "max_workers: {}"], ids=["value", "key", "number"]
)
def test_text_that_yaml_changes_is_refused_unless_quoted(text: str, place: str) -> None:
    assert "quote it" in _error(LEAST_YAML + place.format(text))
    if place.startswith("tags"):
        loads(LEAST_YAML + place.format(f'"{text[:99]}"'), FILE)


def test_a_key_is_bounded() -> None:
    """Each error has the path of its field: keys without a bound made gigabytes of errors of a small file."""
    key = "k" * 257
    assert "a key has more than 256 characters" in _error(f"{LEAST_YAML}tags: {{? {key} : a}}")
    assert loads(f"{LEAST_YAML}tags: {{{key[:127]}: a}}", FILE).tags == {"k" * 127: "a"}


@pytest.mark.parametrize("number", ["true", "3.0"])
@pytest.mark.parametrize(
    "field",
    [
        "network: {zones: %s}",
        "metadata_database: {enhanced_monitoring_seconds: %s}",
        "logging_configuration: {retention_days: %s}",
    ],
)
def test_only_a_whole_number_is_a_choice_of_numbers(field: str, number: str) -> None:
    assert "must be a whole number" in _error(LEAST_YAML + field % number)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("final: yes", "write true or false, or quote it for text"),
        ("max_workers: 010", "write a plain number such as 10, or quote it for text"),
        ("network:", "is empty; write a value, or remove the line"),
        ("network: all", "must be a mapping of `key: value` lines"),
        ("fleets: {default: {queues: default}}", "must be a list, such as [a, b]"),
        ("tags: {cron: */5 * * * *}", "a value cannot start with `*`; quote it"),
        ("tags:\n  a: b: c", "quote a value that contains `: `"),
    ],
)
def test_a_frequent_mistake_has_its_remedy(text: str, message: str) -> None:
    assert message in _error(LEAST_YAML + text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-3", -3),
        ("0", 0),
        ("0.5", 0.5),
        ("5.0", 5.0),
        ("true", True),
        ("False", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("3.3.2", "3.3.2"),
        ("10.0.0.0/16", "10.0.0.0/16"),
        ("sun:04:00-sun:05:00", "sun:04:00-sun:05:00"),
        ("0 6 * * 1-5", "0 6 * * 1-5"),
        ("'010'", "010"),
        ("|\n  010", "010"),
    ],
)
def test_a_plain_value_has_one_meaning(text: str, value: object) -> None:
    data, _ = read_yaml(f"a: {text}", FILE)
    assert data == {"a": value}
    assert type(data["a"]) is type(value)


def test_a_key_is_its_text() -> None:
    assert read_yaml("{2026: a, true: b}", FILE)[0] == {"2026": "a", "true": "b"}


@pytest.mark.parametrize("text", ["schedulers: '2'", "schedulers: true", "enable_execute_command: 1", "tags: {a: 42}"])
def test_a_value_of_another_type_is_refused(text: str) -> None:
    field = text.partition(":")[0]
    assert _error(LEAST_YAML + text).startswith(f"environment.yaml:3: {field}")


def test_anchors_and_merge_keys_may_repeat_a_fleet() -> None:
    environment = loads(
        LEAST_YAML + "fleets:\n  x: &x {queues: [default], max: 3}\n  y: {<<: *x, queues: [other]}\n", FILE
    )
    assert [(fleet.queues, fleet.max) for fleet in environment.fleets.values()] == [(("default",), 3), (("other",), 3)]


ANCHOR = """\
x: &x
  queues: [default, "other", third]
  fallback: {mode: hold,
    count: 3}
"""


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ("  <<: *x\n  queues: [a,\n    b]", {("y", "queues"): 7, ("y", "queues", 0): 7, ("y", "queues", 1): 8}),
        ("  queues: [a,\n    b]\n  <<: *x", {("y", "queues"): 6, ("y", "queues", 0): 6, ("y", "queues", 1): 7}),
        ("  queues: [a]\n  <<: [*x]", {("y", "queues"): 6, ("y", "queues", 0): 6}),
        ("  <<: *x\n  fallback: {}", {("y", "fallback"): 7, ("y", "fallback", "count"): None}),
        ("  queues: [a]\n  <<: *x", {("y",): 5, ("y", "fallback", "count"): 4, ("y", "queues", 2): None}),
    ],
    ids=["merge first", "merge last", "list of merges", "a field of the anchor alone", "a merged field"],
)
def test_a_field_beside_a_merge_key_has_its_own_line(
    fields: str, lines: dict[tuple[str | int, ...], int | None]
) -> None:
    _, found = read_yaml(f"{ANCHOR}y:\n{fields}\n", FILE)
    assert {place: found.get(place) for place in lines} == lines


def test_an_invalid_merge_key_has_its_own_line() -> None:
    assert "environment.yaml:3: y: `<<` takes an alias" in _error("x: &x [1, 2]\ny:\n  <<: *x\n")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(n)}: &{chr(n)} [{', '.join([f'*{chr(n - 1)}'] * 9)}]\n" for n in range(ord("b"), ord("l"))
)
CORPUS = {
    "nested aliases": (BOMB, "has more than 10000 values"),
    "nested merge keys": ("a: &a {<<: [*b]}\n", "undefined alias"),
    "an alias of itself": ("a: &a [*a]", "contains itself"),
    "a mapping in itself": ("&a\nname: *a", "contains itself"),
    "a merge of itself": ("a: &a {<<: *a}", "contains itself"),
    "deep lists": ("[" * 100_000, f"deeper than {MAX_DEPTH} levels"),
    "deep mappings": ("{a: " * 10_000, f"deeper than {MAX_DEPTH} levels"),
    "deep blocks": ("\n".join(" " * n + f"a{n}:" for n in range(200)), f"deeper than {MAX_DEPTH} levels"),
    "many values": ("a: [" + "1, " * 2 * MAX_VALUES + "]", f"more than {MAX_VALUES} values"),
    "a tag": ("name: !!python/object/apply:os.system ['true']", "is a tag"),
    "an escape above Unicode": ('name: "\\UFFFFFFFF"', "invalid YAML"),
    "half a surrogate pair": ('name: "\\uD800"', "surrogate pair"),
    "a version of 5000 digits": (f"%YAML {'9' * 5000}.1\n---\nname: a", "invalid YAML"),
    "a NUL": ("name: a\0", "U+0000"),
    "a line separator": ("name: a\u2028b", "U+2028"),
    "a list as a key": ("? [a]\n: b", "a key must be text"),
    "an empty key": ('"": b', "a key must be text"),
    "a merge of text": ("a: {<<: b}", "takes an alias of a mapping"),
    "an undefined alias": ("name: *a", "undefined alias"),
    "two documents": ("name: a\n---\nname: b", "remove `---`"),
    "a tab for indentation": ("tags:\n\ta: b", "use spaces"),
    "a tab before a value": ("tags: \tb", "use spaces"),
    "a value with @": ("name: @a", "cannot start with `@`; quote it"),
    "an open bracket": ("name: [", "invalid YAML"),
    "a line break in a key": ('"a\\nb": c', "unknown field"),
}


@pytest.mark.parametrize(("text", "message"), CORPUS.values(), ids=CORPUS.keys())
def test_an_unreadable_file_is_one_line_and_little_memory(text: str, message: str) -> None:
    tracemalloc.start()
    try:
        lines = _error(text).splitlines()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert any(message in line for line in lines), lines
    assert all(line.startswith("environment.yaml:") and len(line) < 1200 for line in lines)
    assert peak < 100 * 1024**2, f"{peak} bytes for {len(text)} bytes of text"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: a\ntags: {a: na\xefve}\n", r":2: is not UTF-8 \(byte 0xEF\); save the file as UTF-8"),
        ("name: a".encode("utf-16"), ":1: is not UTF-8"),
        (b"#" * (MAX_BYTES + 1), ": has more than 256 KiB"),
    ],
    ids=["Latin-1", "UTF-16", "too large"],
)
def test_a_file_that_is_no_text_names_the_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "environment.yaml").write_bytes(content)
    with pytest.raises(EnvironmentFileError, match=f"environment.yaml{message}"):
        load(tmp_path / "environment.yaml")


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFileError, match=r"none\.yaml: the file does not exist"):
        read_text(tmp_path / "none.yaml")
    with pytest.raises(EnvironmentFileError, match="is a folder; name the file in it"):
        read_text(tmp_path)
    with pytest.raises(EnvironmentFileError, match="cannot be read"):
        read_text(Path("a\0b"))


_FRAGMENTS = st.sampled_from(
    [
        *("name: a\n", "fleets:\n", "tags: ", "  x: ", "queues: ", "schedule: ", "cron: ", "broker: ", "network: "),
        *("airflow_configuration_options: ", "core.parallelism: ", "web_access: ", "allowed_cidrs: ", "kind: ", "? "),
        *(
            "[",
            "]",
            "{",
            "}",
            ", ",
            ": ",
            "- ",
            "\n",
            "  ",
            "\t",
            "&a ",
            "*a",
            "<<: ",
            "!!int ",
            "---\n",
            "...\n",
            "|\n",
        ),
        *("'", '"', "#", "%YAML 1.1\n", "\\U00110000", "\\ud800", "0 6 * * *", "²", "9" * 400, "1e999", "2026-99-99"),
    ]
)


@given(st.one_of(st.text(max_size=200), st.lists(_FRAGMENTS | st.text(max_size=5), max_size=30).map("".join)))
@example("fleets: {x: {queues: [default], schedule: [{cron: '0 0 ² * *', minutes: 60, min: 2}]}}")
@example("fleets: {x: {queues: [default], schedule: [{cron: '0 0 1-9 " + "9" * 5000 + " *', minutes: 60, min: 2}]}}")
def test_no_text_causes_a_traceback(text: str) -> None:
    try:
        environment = loads(text, FILE)
    except EnvironmentFileError as error:
        assert error.problems, "an error needs a problem"  # noqa: PT017
        assert len(str(error).splitlines()) == len(error.problems)  # noqa: PT017
    else:
        assert environment.name
