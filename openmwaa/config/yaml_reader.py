# SPDX-License-Identifier: Apache-2.0
"""Reads YAML so that a value is the text in the file: within bounds, and with the line of every field.

YAML 1.1 reads `22:30` as 1350, `no` as false and `010` as 8; YAML 1.2 reads text, text and 10. Editors, schema checkers
and Terraform use either. So a plain value is read only if all of them read the same and nothing of its text is lost;
otherwise the file is refused, with a message to quote it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.resolver import Resolver

from openmwaa.errors import EnvironmentFileError, Problem

Location = tuple[int | str, ...]
"""Path of a field: keys of mappings, and indices of lists."""

MAX_BYTES: Final = 262_144
MAX_DEPTH: Final = 16
MAX_KEY: Final = 256
"""Every error has the whole path of its field."""
MAX_VALUES: Final = 10_000
"""With all aliases expanded; an environment with 100 fleets has about 1 000."""

_CONSTANTS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER: Final = re.compile(r"-?[0-9]{1,17}(\.[0-9]{1,17})?")
_NUMBER_OF_YAML_1_2: Final = re.compile(r"0o[0-7]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_YAML_1_1: Final = Resolver()
_TEXT: Final = "tag:yaml.org,2002:str"
_BOOL: Final = "tag:yaml.org,2002:bool"
_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
# YAML 1.1 ends a line at U+0085, U+2028 and U+2029, YAML 1.2 does not.
_REFUSED_CHARACTER: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class _RefusedError(Exception):
    def __init__(self, line: int, message: str, at: Location = ()) -> None:
        super().__init__(message)
        self.line = line
        self.at = at


def read_text(path: Path) -> str:
    """Return the text of the file `path`, which is UTF-8 and has at most `MAX_BYTES`."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        message = "the file does not exist"
    except IsADirectoryError:
        message = f"is a folder; name the file in it, such as {path / 'environment.yaml'}"
    except (OSError, ValueError) as error:
        message = f"cannot be read: {getattr(error, 'strerror', None) or error}"
    else:
        return _decoded(content, path)
    raise EnvironmentFileError([Problem(path, None, "", message)]) from None


def _decoded(content: bytes, path: Path) -> str:
    if len(content) > MAX_BYTES:
        raise EnvironmentFileError([Problem(path, None, "", f"has more than {MAX_BYTES // 1024} KiB, the maximum")])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 (byte 0x{content[error.start]:02X}); save the file as UTF-8"
        raise EnvironmentFileError([Problem(path, line, "", message)]) from None


def field_name(at: Location) -> str:
    """Return a location as text: `fleets.etl.queues[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in at).lstrip(".")


def read_yaml(text: str, path: Path) -> tuple[Any, dict[Location, int]]:
    """Return the data of the YAML `text`, with lists as tuples, and the line of each field.

    Raises:
        EnvironmentFileError: the text is not YAML, exceeds a bound, or has values that YAML readers do not read alike.
    """
    document = _Document()
    loader: _BoundedLoader | None = None
    try:
        _check_characters(text)
        loader = _BoundedLoader(text)
        root = loader.get_single_node()
        data = document.value_of(root, (), 0) if root else None
    except _RefusedError as error:
        problems = [Problem(path, error.line, field_name(error.at), str(error))]
    except yaml.MarkedYAMLError as error:
        problems = [_syntax_problem(error, text, path)]
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML checks no bounds of escapes such as \UFFFFFFFF.
        problems = [Problem(path, loader.line + 1 if loader else None, "", f"invalid YAML: {error}")]
    else:
        problems = [Problem(path, error.line, field_name(error.at), str(error)) for error in document.refused]
        if not problems:
            return data, document.lines
    raise EnvironmentFileError(problems) from None


def _check_characters(text: str) -> None:
    if refused := _REFUSED_CHARACTER.search(text):
        line = text.count("\n", 0, refused.start()) + 1
        message = f"contains the character U+{ord(refused[0]):04X}; remove it, or write it as an escape in quotes"
        raise _RefusedError(line, message)


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, path: Path) -> Problem:
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    rest = line[mark.column :] if mark else ""
    message = f"invalid YAML: {error.problem or error.context}"
    if "\t" in line[: len(line) - len(line.lstrip())] or rest.startswith("\t"):
        message = "a tab cannot indent a line or start a value in YAML; use spaces"
    elif rest.startswith(("@", "`", "%")):
        message = f"a value cannot start with `{rest[0]}`; quote it"
    elif mark and line[: mark.column].endswith(("*", "&")):
        message = f"a value cannot start with `{line[mark.column - 1]}`; quote it"
    elif error.problem == "mapping values are not allowed here":
        message = "invalid YAML: a second `: ` in one line; quote a value that contains `: `, and check the indentation"
    elif rest.startswith("---"):
        message = "a second document starts here; an environment file has one, so remove `---`"
    return Problem(path, mark.line + 1 if mark else None, "", message)


class _BoundedLoader(yaml.BaseLoader):
    """PyYAML's composer, which reads every scalar as text, with bounds of depth and number."""

    _depth = 0
    _nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call] # no types in PyYAML's stubs
        line = event.start_mark.line + 1
        if getattr(event, "tag", None) is not None:
            raise _RefusedError(line, f"`{event.tag}` is a tag; tags are not supported, quote text instead")
        if self._depth > MAX_DEPTH:
            raise _RefusedError(line, f"is nested deeper than {MAX_DEPTH} levels")
        self._nodes += 1
        if self._nodes > 2 * MAX_VALUES:  # a value in a mapping is two nodes
            raise _RefusedError(line, f"has more than {MAX_VALUES} values")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Document:
    """The data, lines and refused values of a graph of nodes, in which an alias is the node of its anchor."""

    def __init__(self) -> None:
        self.lines: dict[Location, int] = {}
        self.refused: list[_RefusedError] = []
        self._values = 0

    def value_of(self, node: yaml.Node, at: Location, depth: int) -> Any:
        """Return the value of `node`."""
        line = node.start_mark.line + 1
        self.lines.setdefault(at, line)
        self._values += 1
        if self._values > MAX_VALUES:
            raise _RefusedError(line, f"has more than {MAX_VALUES} values with all aliases (`*name`) expanded")
        if depth > MAX_DEPTH:
            raise _RefusedError(
                line, f"is nested deeper than {MAX_DEPTH} levels, or an alias (`*name`) contains itself", at
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at, depth)
        if isinstance(node, yaml.SequenceNode):
            return tuple(self.value_of(item, (*at, index), depth + 1) for index, item in enumerate(node.value))
        return self._scalar(node, at)

    def _mapping(self, node: yaml.MappingNode, at: Location, depth: int) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        merged_lines: dict[Location, int] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, at)
            if key == "<<" and key_node.style is None:
                for mapping, lines in self._merged_mappings(value_node, at, depth, key_node.start_mark.line + 1):
                    merged_lines |= {place: lines[place] for place in lines if place[len(at)] not in merged}
                    merged = {**mapping, **merged}
                continue
            here = (*at, key)
            line = key_node.start_mark.line + 1
            if key in own:
                self.refused.append(_RefusedError(line, "is set twice", here))
            else:
                self.lines[here] = line
                own[key] = self.value_of(value_node, here, depth + 1)
        self.lines.update((place, line) for place, line in merged_lines.items() if place[len(at)] not in own)
        return {**merged, **own}

    def _merged_mappings(
        self, node: yaml.Node, at: Location, depth: int, line: int
    ) -> Iterator[tuple[dict[str, Any], dict[Location, int]]]:
        """Yield the mappings of a merge key in `line`, each with the lines of the fields in it."""
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(item, yaml.MappingNode):
                raise _RefusedError(line, "`<<` takes an alias of a mapping, or a list of them", at)
            # Apart, so that the lines of the anchor do not replace those of the fields beside the merge key.
            before, self.lines = self.lines, {}
            mapping = self.value_of(item, at, depth + 1)
            lines, self.lines = self.lines, before
            yield mapping, {place: lines[place] for place in lines if len(place) > len(at)}

    def _key(self, node: yaml.Node, at: Location) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            raise _RefusedError(node.start_mark.line + 1, "a key must be text that is not empty", at)
        if len(node.value) > MAX_KEY:
            raise _RefusedError(node.start_mark.line + 1, f"a key has more than {MAX_KEY} characters", at)
        # The text of a key is its name, also if it is a number.
        self._scalar(node, (*at, str(node.value)))
        return str(node.value)

    def _scalar(self, node: yaml.Node, at: Location) -> Any:
        text = str(node.value)
        line = node.start_mark.line + 1
        if _SURROGATE.search(text):
            raise _RefusedError(line, "contains half of a surrogate pair; write the whole character", at)
        if getattr(node, "style", None) is not None:
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _NUMBER.fullmatch(text):
            number = float(text) if "." in text else int(text)
            if str(number) == text:
                return number
        tag = _YAML_1_1.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call] # as above
        if text != "<<" and (tag != _TEXT or _NUMBER_OF_YAML_1_2.fullmatch(text)):
            example = text if len(text) < 40 else f"{text[:40]}…"  # noqa: PLR2004 - fits in a line
            message = f'is `{example}`, which YAML readers may change; quote it for text: "{example}"'
            if tag == _BOOL:
                message = f'is `{example}`; write true or false, or quote it for text: "{example}"'
            elif tag in _NUMBERS:
                message = f'is `{example}`; write a plain number such as 10, or quote it for text: "{example}"'
            self.refused.append(_RefusedError(line, message, at))
        return text
