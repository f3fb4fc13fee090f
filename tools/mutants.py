# SPDX-License-Identifier: Apache-2.0
"""Changes one place of the code at a time and runs the package's tests: a change without a failure needs a test.

mutmut makes the changes (mutants): `<` to `<=`, `and` to `or`, an argument to None and others; a check that only raises
an error is also left out. Texts, types, decorators and log messages stay as they are. The sample depends on the commit
alone and takes the same number from each file.
Each run of the tests is a fork of this process, which has imported the libraries. It works in a copy of the commit and
compiles the changed file from memory. Before its mutants, each file has a run with the same limits and the unchanged
file, which must pass and sets the limit of CPU time; so has the last file at the end. The survivors, and what killed
the others, are in build/mutants.json.
Exit codes: 0 success, 1 fewer than 90 % killed, or the tests fail without a mutant.
"""

import importlib
import json
import math
import multiprocessing
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from itertools import groupby, zip_longest
from pathlib import Path
from types import CodeType
from typing import Any

import libcst as cst
import psutil
import pytest
from hypothesis import HealthCheck, Phase, settings
from mutmut.mutation.mutators import mutation_operators

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "build" / "mutants.json"
LEAST_KILLED = 0.9
SAMPLE = 320
CORE = ("core_records", "decide*", "explained_decisions", "explanation", "properties", "safeguards", "window")
TESTS = {
    "scaler/core/*.py": [f"tests/unit/scaler/test_{name}.py" for name in CORE],
    "worker_agent/*.py": ["tests/unit/worker_agent/test_*.py", "tests/emulated/worker_agent/test_*.py"],
    "local_ecs/model/*.py": ["tests/unit/local_ecs/model/test_*.py", "tests/emulated/local_ecs/api/test_*.py"],
    "images/airflow/openmwaa_runtime/auth/*_proof.py": ["tests/unit/openmwaa_runtime/auth/test_*proof*.py"],
    "images/airflow/openmwaa_runtime/mwaa_api/sigv4.py": ["tests/unit/openmwaa_runtime/mwaa_api/test_sigv4.py"],
    "images/airflow/openmwaa_runtime/auth/pinned_http.py": ["tests/emulated/openmwaa_runtime/test_proofs_over_http.py"],
}
"""Files that may change, and their tests. None of them starts a process, because only the fork has the mutant."""
LIBRARIES = (
    "celery.worker.consumer",
    "hypothesis.stateful",
    "jsonschema",
    "kombu.transport.SQS",
    "kombu.transport.redis",
    "boto3",
    "jwt",
    "urllib3",
)
OPTIONS = ("-xq", "-n0", "--assert=plain", "-pno:cacheprovider", "--hypothesis-profile=mutants", "--hypothesis-seed=0")
EXAMPLES = 25
"""Examples of each property; the tables are the main tests."""
CPU_FACTOR, IDLE_S = 3, 30
"""The limit of CPU time, as a multiple of the time without a mutant. A run that uses no CPU so long waits for ever."""
MEMORY_BYTES = 4 * 2**30
FAILED_TEST, FAILED_IMPORT, PASSED = 101, 102, 100
"""Exit codes of a run; an error of this program has others."""
CAUSES = {FAILED_TEST: "test", FAILED_IMPORT: "import", -signal.SIGXCPU: "cpu", -signal.SIGKILL: "idle"}
CODES = {
    pytest.ExitCode.OK: PASSED,
    pytest.ExitCode.TESTS_FAILED: FAILED_TEST,
    pytest.ExitCode.INTERRUPTED: FAILED_IMPORT,
}
FORK = multiprocessing.get_context("fork")
UNCHANGED = (cst.BaseString, cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom, cst.Assert, cst.Raise)
NO_BEHAVIOUR = re.compile(
    r"(\w+ = )?(logger\.|get_logger|TypeVar|(Literal|Callable|Mapping|dict|tuple)\[|[A-Z]\w+ \| )|__all__"
)
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
    def module_name(self) -> str:
        """The name that tests import."""
        path = self.path.removeprefix("images/airflow/").removesuffix(".py")
        return path.replace("/", ".").removesuffix(".__init__")

    @property
    def source(self) -> str:
        """The file with the change."""
        return code_of(cst.ensure_type(self.module.deep_replace(self.node, self.changed), cst.Module))

    def __str__(self) -> str:
        text = f"{self.path}:{self.line}: {code_of(self.node)} -> {code_of(self.changed)}"
        return " ".join(text.split())


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


def without_check(node: cst.If) -> list[cst.If]:
    """Return the `if` without effect, where all it does is to raise an error."""
    body = node.body.body
    is_check = (
        len(body) == 1 and isinstance(body[0], cst.SimpleStatementLine) and isinstance(body[0].body[0], cst.Raise)
    )
    return [node.with_changes(test=cst.Name("False"))] if is_check else []


OPERATORS: list[tuple[Any, Any]] = [*mutation_operators, (cst.If, without_check)]


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
        for kind, change in OPERATORS
        for changed in (change(node) if isinstance(node, kind) else ())
        # None to "" changes nothing wherever only the truth of the value counts.
        if not code_of(changed).endswith('= ""')
    ]


def sample(root: Path, seed: str, size: int) -> list[Mutant]:
    """Return mutants, the same number from each file as far as the file has them."""
    rng = random.Random(seed)  # noqa: S311
    paths = [(package, path) for package in TESTS for path in sorted(root.glob(package))]
    files = [mutants_of(package, root, path) for package, path in rng.sample(paths, len(paths))]
    shuffled = [rng.sample(mutants, len(mutants)) for mutants in files]
    return [mutant for row in zip_longest(*shuffled) for mutant in row if mutant is not None][:size]


class PackageTests:
    """The tests of one package, run in forks with one mutant or none."""

    def __init__(self, package: str, root: Path) -> None:
        self._files = [path for pattern in TESTS[package] for path in sorted(root.glob(pattern))]
        self._limit_s = resource.RLIM_INFINITY

    def check(self, unchanged: Mutant) -> None:
        """Run the tests of an unchanged file as those of its mutants, and set the limit of their CPU time.

        Raises:
            SystemExit: the tests fail.
        """
        self._limit_s, before = resource.RLIM_INFINITY, os.times()
        if cause := self.killed_by(unchanged):
            sys.exit(f"The tests of {unchanged.path} fail without a mutant ({cause}).")
        after = os.times()
        used_s = after.children_user + after.children_system - before.children_user - before.children_system
        self._limit_s = CPU_FACTOR * math.ceil(used_s)

    def killed_by(self, mutant: Mutant) -> str | None:
        """Return what ended the tests: a failed test, an import, a limit; None if they pass."""
        process = FORK.Process(target=self._run, args=(mutant, compile(mutant.source, mutant.path, "exec")))
        process.start()
        used_s, before_s = 0.0, -1.0
        while process.is_alive() and used_s > before_s:
            process.join(IDLE_S)
            used_s, before_s = sum(psutil.Process(process.pid).cpu_times()[:2]) if process.is_alive() else 0.0, used_s
        was_idle = process.is_alive()
        process.kill()
        process.join()
        code = process.exitcode
        if code == PASSED:
            return None
        if code not in CAUSES or (code == -signal.SIGKILL and not was_idle):
            sys.exit(f"The tests of {mutant} ended with {code}: an error of the run, not of a test.")
        return CAUSES[code]

    def _run(self, mutant: Mutant, code: CodeType) -> None:
        def step(file: Path) -> int:
            return 0 if mutant.module_name in file.read_text() else 1 + ("emulated" in file.parts)

        exit_code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            resource.setrlimit(resource.RLIMIT_CPU, (self._limit_s, resource.RLIM_INFINITY))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            load_changed(mutant.module_name, code)
            steps = [list(files) for _, files in groupby(sorted(self._files, key=step), key=step)]
            results = (pytest.main([*OPTIONS, *map(str, files)]) for files in steps)
            result = next((result for result in results if result), pytest.ExitCode.OK)
            exit_code = CODES.get(pytest.ExitCode(result), exit_code)
        finally:
            os._exit(exit_code)  # this fork does not wait for threads that a failed test has left


def load_changed(module: str, code: CodeType) -> None:
    """Let every later import of the module use the changed code."""
    unchanged = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str) -> CodeType | None:
        return code if name == module else unchanged(loader, name)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign,assignment]


def import_libraries() -> None:
    """Import the libraries of the tests before the forks, but nothing that may change."""
    for plugin in entry_points(group="pytest11"):
        plugin.load()
    for name in LIBRARIES:
        importlib.import_module(name)
    # A failed example is not made smaller and not stored.
    profile: dict[str, Any] = {"max_examples": EXAMPLES, "database": None, "phases": [Phase.explicit, Phase.generate]}
    settings.register_profile(
        "mutants", settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], **profile)
    )
    os.environ["PROPERTY_EXAMPLES"] = str(EXAMPLES)


def main() -> int:
    """Run the sample. Arguments: its size, and a seed in place of the commit's hash."""
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    size, seed = int(sys.argv[1]) if sys.argv[1:] else SAMPLE, sys.argv[2] if sys.argv[2:] else commit
    import_libraries()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        archive = subprocess.check_output(["git", "archive", "HEAD"], cwd=ROOT)
        subprocess.run(["tar", "-x", "-C", root], input=archive, check=True)
        os.chdir(root)
        tests = {package: PackageTests(package, root) for package in TESTS}
        mutants, causes, survivors = sample(root, seed, size), Counter[str](), list[str]()
        number = 0
        for _, of_file in groupby(sorted(mutants, key=lambda mutant: mutant.path), key=lambda mutant: mutant.path):
            first, *others = of_file
            package_tests, unchanged = tests[first.package], replace(first, changed=first.node)
            package_tests.check(unchanged)
            for mutant in (first, *others):
                number, cause = number + 1, package_tests.killed_by(mutant)
                causes[cause or "survived"] += 1
                print(f"{number} of {len(mutants)}", f"killed ({cause})" if cause else "survived", mutant, flush=True)
                if cause is None:
                    survivors.append(str(mutant))
        package_tests.check(unchanged)
    report = {"commit": commit, "seed": seed, "mutants": len(mutants), "causes": causes, "survivors": survivors}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    killed = len(mutants) - len(survivors)
    print(f"{killed} of {len(mutants)} mutants killed: {dict(causes)}")
    return 0 if killed >= LEAST_KILLED * len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main())
