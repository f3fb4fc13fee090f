# SPDX-License-Identifier: Apache-2.0
"""Changes one place of the code at a time and runs the package's tests: a change without a failure needs a test.

mutmut makes the changes (mutants): `<` to `<=`, `and` to `or`, an argument to None and others. Texts, types, decorators
and log messages stay as they are. The sample depends on the commit alone and takes the same number from each file. The
tests run in copies of the commit, first without a mutant. The survivors are in build/mutants.json.
Exit codes: 0 success, 1 fewer than 90 % killed, or the tests fail without a mutant.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from queue import SimpleQueue

import libcst as cst
from mutmut.mutation.mutators import mutation_operators

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "build" / "mutants.json"
LEAST_KILLED = 0.9
SAMPLE = 320
TIMEOUT_S = 600
FAST = ("safeguards", "window", "decide*", "explanation", "properties")
TESTS = {
    "scaler/core": [*(f"tests/unit/scaler/test_{name}.py" for name in FAST), "tests/unit/scaler"],
    "worker_agent": [
        "tests/unit/worker_agent",
        "tests/emulated/worker_agent",
        "tests/emulated/test_worker_agent_process.py",
    ],
    "local_ecs/model": ["tests/unit/local_ecs/model", "tests/emulated/local_ecs/api"],
}
"""The tests of each package, the fastest first: a run ends at the first failure."""
UNCHANGED = (cst.BaseString, cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom, cst.Assert, cst.Raise)
NO_BEHAVIOUR = re.compile(r"(\w+ = )?(logger\.|get_logger|TypeVar|Literal\[|Callable\[|\w+ \| )|__all__")
"""Log messages, types and lists of exported names."""


@dataclass(frozen=True)
class Mutant:
    """One change in one file."""

    package: str
    path: str
    line: int
    module: cst.Module
    node: cst.CSTNode
    changed: cst.CSTNode

    @property
    def source(self) -> str:
        """The file with the change."""
        return code_of(cst.ensure_type(self.module.deep_replace(self.node, self.changed), cst.Module))

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {code_of(self.node).strip()} -> {code_of(self.changed).strip()}"


class Places(cst.CSTVisitor):
    """Collects the nodes that may change, with their lines."""

    METADATA_DEPENDENCIES = (cst.metadata.PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, int]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Keep a node, or leave it out with all that is inside."""
        if isinstance(node, UNCHANGED):
            return False
        if isinstance(node, cst.Assign | cst.AnnAssign | cst.Call) and NO_BEHAVIOUR.match(code_of(node)):
            return False
        self.found.append((node, self.get_metadata(cst.metadata.PositionProvider, node).start.line))
        return True


def code_of(node: cst.CSTNode) -> str:
    """Return the source of a node."""
    return cst.Module([]).code_for_node(node)


def mutants_of(package: str, root: Path, path: Path) -> list[Mutant]:
    """Return every mutant of one file."""
    places, name = Places(), str(path.relative_to(root))
    wrapper = cst.metadata.MetadataWrapper(cst.parse_module(path.read_text()))
    wrapper.visit(places)
    return [
        Mutant(package, name, line, wrapper.module, node, changed)
        for node, line in places.found
        # The mutants of a call with a text would drop the text.
        if not (
            isinstance(node, cst.Call) and any(isinstance(argument.value, cst.BaseString) for argument in node.args)
        )
        for kind, change in mutation_operators
        for changed in (change(node) if isinstance(node, kind) else ())
        # None to "" changes nothing wherever only the truth of the value counts.
        if not code_of(changed).endswith('= ""')
    ]


def sample(root: Path, seed: str, size: int) -> list[Mutant]:
    """Return mutants, the same number from each file as far as the file has them."""
    rng = random.Random(seed)  # noqa: S311
    paths = [(package, path) for package in TESTS for path in sorted((root / package).glob("*.py"))]
    files = [mutants_of(package, root, path) for package, path in rng.sample(paths, len(paths))]
    shuffled = [rng.sample(mutants, len(mutants)) for mutants in files]
    return [mutant for row in zip_longest(*shuffled) for mutant in row if mutant is not None][:size]


def tests_pass(root: Path, package: str) -> bool:
    """Return whether the package's tests pass within the time limit."""
    tests = chain.from_iterable(sorted(str(path) for path in root.glob(pattern)) for pattern in TESTS[package])
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    # Python would take an old .pyc for a mutant of the same size in the same second.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    limited = ["timeout", str(TIMEOUT_S), *command, *tests]
    return subprocess.run(limited, cwd=root, env=environment, capture_output=True, check=False).returncode == 0


def survives(copies: SimpleQueue[Path], mutant: Mutant) -> bool:
    """Run the tests with one mutant in a free copy."""
    root = copies.get()
    file = root / mutant.path
    original = file.read_text()
    file.write_text(mutant.source)
    passed = tests_pass(root, mutant.package)
    file.write_text(original)
    copies.put(root)
    print("survived" if passed else "killed", mutant, flush=True)
    return passed


def main() -> int:
    """Run the sample; its size is the first argument."""
    size, jobs = int(sys.argv[1]) if sys.argv[1:] else SAMPLE, os.cpu_count() or 1
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    archive = subprocess.check_output(["git", "archive", "HEAD"], cwd=ROOT)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            root = Path(folder, str(number))
            root.mkdir()
            subprocess.run(["tar", "-x", "-C", root], input=archive, check=True)
            copies.put(root)
        if not all(tests_pass(root, package) for package in TESTS):
            sys.exit("The tests fail without a mutant.")
        mutants = sample(root, commit, size)
        survived = list(pool.map(lambda mutant: survives(copies, mutant), mutants))
    survivors = [str(mutant) for mutant, passed in zip(mutants, survived, strict=True) if passed]
    killed = len(mutants) - len(survivors)
    report = {"commit": commit, "mutants": len(mutants), "killed": killed, "survivors": survivors}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print(f"{killed} of {len(mutants)} mutants killed")
    return 0 if killed >= LEAST_KILLED * len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main())
