# SPDX-License-Identifier: Apache-2.0
"""Changes one place of the code at a time and runs the package's tests: a change without a failure needs a test.

mutmut makes the changes (mutants): `<` to `<=`, `and` to `or`, an argument to None and others. Texts, types, decorators
and log messages stay as they are. The sample depends on the commit alone and takes the same number from each file.
Each run of the tests is a fork of this process, which has imported the libraries. It works in a copy of the commit and
compiles the changed file from memory. The first run has no mutant; its CPU time sets the limit of the others. The
survivors are in build/mutants.json.
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
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from itertools import groupby, zip_longest
from pathlib import Path
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
    "scaler/core": [f"tests/unit/scaler/test_{name}.py" for name in CORE],
    "worker_agent": ["tests/unit/worker_agent/test_*.py", "tests/emulated/worker_agent/test_*.py"],
    "local_ecs/model": ["tests/unit/local_ecs/model/test_*.py", "tests/emulated/local_ecs/api/test_*.py"],
}
"""The tests of each package. None of them starts a process, because only the fork itself has the mutant."""
LIBRARIES = (
    "celery.worker.consumer",
    "hypothesis.stateful",
    "jsonschema",
    "kombu.transport.SQS",
    "kombu.transport.redis",
)
OPTIONS = ("-xq", "-n0", "--assert=plain", "-pno:cacheprovider", "--hypothesis-profile=mutants", "--hypothesis-seed=0")
EXAMPLES = 25
"""Examples of each property; the tables are the main tests."""
CPU_FACTOR, IDLE_S = 3, 30
"""The limit of CPU time, as a multiple of the time without a mutant. A run that uses no CPU so long waits for ever."""
MEMORY_BYTES = 4 * 2**30
FAILED = (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED, -signal.SIGXCPU, -signal.SIGKILL)
"""Exit codes of a failed test, of a module that cannot be imported, and of a run above its limits."""
FORK = multiprocessing.get_context("fork")
UNCHANGED = (cst.BaseString, cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom, cst.Assert, cst.Raise)
NO_BEHAVIOUR = re.compile(
    r"(\w+ = )?(logger\.|get_logger|TypeVar|(Literal|Callable|Mapping|dict|tuple)\[|\w+ \| )|__all__"
)
"""Log messages, types and lists of exported names."""
FALSE = re.compile(r'\bFalse\b|(?<== )""$|(?<=lambda: )0$')
"""What mutmut makes of None, and False: a change from one to the other has no effect if only its truth counts."""


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
        return self.path.removesuffix(".py").replace("/", ".")

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
        if FALSE.sub("None", code_of(changed)) != FALSE.sub("None", code_of(node))
    ]


def sample(root: Path, seed: str, size: int) -> list[Mutant]:
    """Return mutants, the same number from each file as far as the file has them."""
    rng = random.Random(seed)  # noqa: S311
    paths = [(package, path) for package in TESTS for path in sorted((root / package).glob("*.py"))]
    files = [mutants_of(package, root, path) for package, path in rng.sample(paths, len(paths))]
    shuffled = [rng.sample(mutants, len(mutants)) for mutants in files]
    return [mutant for row in zip_longest(*shuffled) for mutant in row if mutant is not None][:size]


class PackageTests:
    """The tests of one package, run in forks: first without a mutant, then once with each."""

    def __init__(self, package: str, root: Path) -> None:
        self._files = [path for pattern in TESTS[package] for path in sorted(root.glob(pattern))]
        self._limit_s = resource.RLIM_INFINITY

    def pass_without_mutant(self) -> bool:
        """Return whether the tests pass, and set the limits of the other runs."""
        before = os.times()
        code, after = self._exit_code(None), os.times()
        used_s = after.children_user + after.children_system - before.children_user - before.children_system
        self._limit_s = CPU_FACTOR * math.ceil(used_s)
        return code == pytest.ExitCode.OK

    def kill(self, mutant: Mutant) -> bool:
        """Return whether a test fails, or the tests do not end."""
        return self._exit_code(mutant) in FAILED

    def _exit_code(self, mutant: Mutant | None) -> int | None:
        process = FORK.Process(target=self._run, args=(mutant,))
        process.start()
        used_s, before_s = 0.0, -1.0
        while process.is_alive() and used_s > before_s:
            process.join(IDLE_S)
            used_s, before_s = sum(psutil.Process(process.pid).cpu_times()[:2]) if process.is_alive() else 0.0, used_s
        process.kill()
        process.join()
        return process.exitcode

    def _run(self, mutant: Mutant | None) -> None:
        def step(file: Path) -> int:
            return 0 if mutant and mutant.module_name in file.read_text() else 1 + ("emulated" in file.parts)

        if mutant:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            resource.setrlimit(resource.RLIMIT_CPU, (self._limit_s, resource.RLIM_INFINITY))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            load_changed(mutant)
        steps = [list(files) for _, files in groupby(sorted(self._files, key=step), key=step)]
        codes = (pytest.main([*OPTIONS, *map(str, files)]) for files in steps)
        # Without os._exit this fork would wait for threads that a failed test has left.
        os._exit(next((code for code in codes if code), 0))


def load_changed(mutant: Mutant) -> None:
    """Let every later import of the file use the mutant."""
    source, unchanged = mutant.source, SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str) -> Any:
        return compile(source, loader.path, "exec") if name == mutant.module_name else unchanged(loader, name)

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
        if not all(package_tests.pass_without_mutant() for package_tests in tests.values()):
            sys.exit("The tests fail without a mutant.")
        mutants = sample(root, seed, size)
        survivors = []
        for number, mutant in enumerate(mutants, 1):
            killed = tests[mutant.package].kill(mutant)
            print(f"{number} of {len(mutants)}", "killed" if killed else "survived", mutant, flush=True)
            if not killed:
                survivors.append(str(mutant))
    killed_count = len(mutants) - len(survivors)
    report = {"commit": commit, "seed": seed, "mutants": len(mutants), "killed": killed_count, "survivors": survivors}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print(f"{killed_count} of {len(mutants)} mutants killed")
    return 0 if killed_count >= LEAST_KILLED * len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main())
