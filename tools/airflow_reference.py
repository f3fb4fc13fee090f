# SPDX-License-Identifier: Apache-2.0
"""The reference pages of the settings that the Airflow image makes, and of the supported versions of Airflow."""

import re
from collections.abc import Iterable, Iterator

from openmwaa.config.airflow_options import OWNED_OPTIONS
from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS, DEFAULT_VERSION, IMAGE_PYTHON, AirflowVersion
from openmwaa.local.install.venvs import lock_file
from openmwaa_runtime.settings.airflow_2 import AIRFLOW_2_OWN
from openmwaa_runtime.settings.connections import CONNECTIONS
from openmwaa_runtime.settings.container_env import AIRFLOW_COMPONENTS
from openmwaa_runtime.settings.defaults import DEFAULTS
from openmwaa_runtime.settings.model import AirflowSetting
from tools.page_blocks import reference, table


def page() -> str:
    """Return the page as Markdown."""
    return reference(
        "airflow-defaults.md",
        defaults=_options(DEFAULTS),
        connections=_options(CONNECTIONS),
        airflow_2=_options(AIRFLOW_2_OWN),
        verdicts=table(
            "option", "verdict", "", rows=((f"`{row.option}`", row.verdict, row.advice) for row in OWNED_OPTIONS)
        ),
    )


def versions_page() -> str:
    """Return the page of the versions as Markdown."""
    columns = [_version(row) for row in AIRFLOW_VERSIONS.values()]
    names = ("", *(f"**{version}**" for version in AIRFLOW_VERSIONS))
    rows = ((name, *(column[name] for column in columns)) for name in columns[0])
    return reference("airflow-versions.md", versions=table(*names, rows=rows), differences=_differences())


def _version(row: AirflowVersion) -> dict[str, str]:
    """The properties of a version; the packages are those of its lock file."""
    text = lock_file(f"{row.lock}.txt").read_text(encoding="utf-8")
    pins = dict(re.findall(r"(?m)^([a-z0-9-]+)(?:\[.*\])?==([\w.]+)", text))
    providers = ("amazon", "celery", "fab", "postgres", "standard")
    return {
        "default": "yes" if row.version == DEFAULT_VERSION else "",
        "end of life": "not announced" if row.end_of_life is None else f"{row.end_of_life:%Y-%m-%d}",
        "Python of the image": IMAGE_PYTHON,
        "Python for `openmwaa local`": ", ".join(row.pythons),
        "lock file": f"[{row.lock}.txt](../../images/airflow/requirements/{row.lock}.txt)",
        "packages published before": f"{row.packages_until:%Y-%m-%d}",
        "packages": str(len(pins)),
        **{f"provider `{name}`": pins.get(f"apache-airflow-providers-{name}", "") for name in providers},
        **{f"`{name}`": pins[name] for name in ("celery", "kombu", "sqlalchemy")},
    }


def _differences() -> str:
    def lines() -> Iterator[str]:
        for row in AIRFLOW_VERSIONS.values():
            if row.differs:
                yield from (f"### {row.version}", "", *(f"- {text}" for text in row.differs), "")

    return "\n".join(lines()) or "There is one version."


def _options(settings: Iterable[AirflowSetting]) -> str:
    rows = ((f"`{setting.name}`", setting.shown, _where(setting), setting.reason) for setting in settings)
    return table("option", "value", "where", "why", rows=rows)


def _where(setting: AirflowSetting) -> str:
    return "everywhere" if setting.components == AIRFLOW_COMPONENTS else ", ".join(sorted(setting.components))
