# SPDX-License-Identifier: Apache-2.0
"""Each image holds the modules, data files and packages that its programs import, and no others."""

import json
import re
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS
from tools.aarch64_wheels import GLIBC, LOCKS, PYTHON, SOURCE_ONLY, TABLE

ROOT = Path(__file__).parents[3]
DISTRIBUTIONS = {"airflow": "apache-airflow", "jwt": "pyjwt", "psycopg2": "psycopg2-binary"}
"""Distributions that are not named like their module."""


@dataclass(frozen=True)
class Image:
    """One Dockerfile: its packages, and the modules that are started or loaded by name."""

    name: str
    lock: str
    packages: tuple[str, ...]
    entry_points: tuple[str, ...]


# Airflow loads most of them by the names in its settings, and `release` those of one version; `celery_config` loads the
# worker agent by name.
PROGRAMS = (
    *(f"openmwaa_runtime.{name}" for name in ("__main__", "celery_config", "dag_bundle")),
    "openmwaa_runtime.task_logs.airflow_logging",
    *(f"openmwaa_runtime.airflow_3.{name}" for name in ("auth_manager", "worker")),
    *(f"openmwaa_runtime.airflow_2.{name}" for name in ("dag_processor", "task_logging", "webserver_config", "worker")),
    "worker_agent",
)
IMAGES = [
    Image("scaler", "images/scaler/requirements.txt", ("scaler",), ("scaler.main",)),
    *(
        Image(
            "airflow",
            f"images/airflow/requirements/{row.lock}.txt",
            ("openmwaa_runtime", "worker_agent"),
            PROGRAMS,
        )
        for row in AIRFLOW_VERSIONS.values()
    ),
]
each_image = pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.lock.rpartition("/")[2])


@cache
def import_closure(image: Image) -> frozenset[str]:
    """All modules that the entry points import, also inside functions; other projects' modules by their first name."""
    graph = grimp.build_graph(*image.packages, include_external_packages=True, cache_dir=None)
    found = set(image.entry_points)
    for module in image.entry_points:
        found |= graph.find_upstream_modules(module)
    parents = {module.rpartition(".")[0] for module in found}
    while parents - found - {""}:
        found |= parents - {""}
        parents = {module.rpartition(".")[0] for module in found}
    return frozenset(found)


def third_party(image: Image) -> set[str]:
    roots = {module.partition(".")[0] for module in import_closure(image)}
    names = roots - set(image.packages) - set(sys.stdlib_module_names)
    return {DISTRIBUTIONS.get(name, name.replace("_", "-")) for name in names}


def locked(image: Image) -> dict[str, bool]:
    """The packages of the lock file; True where no other package of the file requires it."""
    text = (ROOT / image.lock).read_text(encoding="utf-8")
    entries = re.findall(r"(?m)^([a-z0-9-]+)(?:\[[a-z,]+\])?==.*\n((?:[ ]+.*\n)*)", text)
    return {name: "# via" not in rest for name, rest in entries}


def copied_files(image: Image) -> dict[str, Path]:
    """Path below /opt/openmwaa -> file of the repository, as the Dockerfile and its .dockerignore select them."""
    dockerfile = ROOT / "images" / image.name / "Dockerfile"
    ignored = [
        line
        for line in dockerfile.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        if line and line[0] not in "#!" and line != "*"
    ]
    copies = re.findall(r"(?m)^COPY (?:--chown=\S+ )?(\S+) /opt/openmwaa/(\S+)$", dockerfile.read_text("utf-8"))
    files: dict[str, Path] = {}
    for source, target in copies:
        for path in (path for path in (ROOT / source).rglob("*") if path.is_file()):
            relative = str(path.relative_to(ROOT))
            if not any(fnmatch(relative, pattern) or fnmatch(relative, f"{pattern}/*") for pattern in ignored):
                files[f"{target}/{path.relative_to(ROOT / source)}"] = path
    return files


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@each_image
def test_every_module_in_the_image_is_imported_by_its_programs(image: Image) -> None:
    modules = {module_name(path) for path in copied_files(image) if path.endswith(".py")}
    assert modules == {name for name in import_closure(image) if name.partition(".")[0] in image.packages}


@each_image
def test_every_data_file_in_the_image_is_named_by_a_module_of_the_image(image: Image) -> None:
    files = copied_files(image)
    source = "".join(path.read_text(encoding="utf-8") for name, path in files.items() if name.endswith(".py"))
    data = {path.name for name, path in files.items() if not name.endswith(".py")}
    assert {name for name in data if f'"{name}"' not in source} == set()


@each_image
def test_every_imported_package_is_in_the_lock_of_the_image(image: Image) -> None:
    packages = third_party(image)
    assert len(packages) >= 5
    of_airflow_2 = (
        {"flask", "flask-appbuilder", "flask-login", "werkzeug"} if image.lock.endswith("airflow-3.3.2.txt") else set()
    )
    assert packages - locked(image).keys() == of_airflow_2, "only `airflow_2` may import them"


def test_every_package_of_the_scalers_image_is_imported_or_required_by_one_that_is() -> None:
    scaler = IMAGES[0]
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extra = {re.split("[<>=]", name)[0] for name in pyproject["project"]["optional-dependencies"]["scaler"]}
    assert extra - third_party(scaler) == {"tzdata"}  # time zones as data: `zoneinfo` reads them
    assert {name for name, is_root in locked(scaler).items() if is_root} <= extra <= locked(scaler).keys()


ARM64 = {
    "os_name": "posix",
    "platform_machine": "aarch64",
    "platform_system": "Linux",
    "python_full_version": "3.12.0",
    "python_version": "3.12",
    "sys_platform": "linux",
}
_PLATFORMS = [f"manylinux_{GLIBC[0]}_{minor}_aarch64" for minor in range(GLIBC[1], 16, -1)] + ["manylinux2014_aarch64"]
INSTALLABLE = {*cpython_tags(PYTHON, platforms=_PLATFORMS), *compatible_tags(PYTHON, "cp312", _PLATFORMS)}


def pins(lock: str) -> dict[str, set[str]]:
    """The pins of a lock file that Linux on ARM64 installs, each with the hashes of its files."""
    entries = re.findall(r"(?m)^([a-z0-9].*?) \\\n((?:    --hash=.*\n)+)", (ROOT / lock).read_text(encoding="utf-8"))
    assert entries, lock
    found = [(Requirement(line), set(re.findall("sha256:[0-9a-f]{64}", hashes))) for line, hashes in entries]
    return {
        f"{canonicalize_name(requirement.name)}{requirement.specifier}": hashes
        for requirement, hashes in found
        if requirement.marker is None or requirement.marker.evaluate({**ARM64, "extra": ""})
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_the_images_has_a_wheel_for_arm64(lock: str) -> None:
    locked_pins = pins(lock)
    wheels = json.loads(TABLE.read_text(encoding="utf-8"))[lock]
    assert wheels.keys() == locked_pins.keys(), "run `make lock`: images/aarch64-wheels.json is out of date"
    for pin, (wheel, digest) in wheels.items():
        assert digest in locked_pins[pin], f"pip refuses {wheel}: the lock file does not have its hash"
        if pin.partition("==")[0] in SOURCE_ONLY:
            continue
        name, version, _, tags = parse_wheel_filename(wheel)
        assert f"{name}=={version}" == pin
        assert tags & INSTALLABLE, f"{wheel} is not for Linux on ARM64"
