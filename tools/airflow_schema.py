# SPDX-License-Identifier: Apache-2.0
"""Writes the options of one Airflow version with its providers, for the check of environment.yaml.

Run it with the interpreter of the locked Airflow: `AIRFLOW/bin/python tools/airflow_schema.py`. It writes
openmwaa/config/schemas/airflow-VERSION.json from Airflow's own configuration, changes and values of options.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "openmwaa" / "config" / "schemas"


def schema() -> dict[str, Any]:
    """Return types, values and changes of all options."""
    from airflow.configuration import conf  # noqa: PLC0415 - only the interpreter of Airflow has it
    from airflow.providers_manager import ProvidersManager  # noqa: PLC0415

    described = dict(conf.configuration_description)
    described |= {
        name: section for _, config in ProvidersManager().provider_configs for name, section in config.items()
    }
    values = {f"{section}.{option}": list(allowed) for (section, option), allowed in conf.enums_options.items()}
    sections = {
        section: {
            option.lower(): values.get(f"{section}.{option}", _type(option, description))
            for option, description in sorted(content.get("options", {}).items())
        }
        for section, content in sorted(described.items())
    }
    known = {f"{section}.{option}" for section, options in sections.items() for option in options}
    return {
        "sections": sections,
        "sensitive": sorted(".".join(name) for name in conf.sensitive_config_values if ".".join(name) in known),
        "changed": {name: change for name, change in sorted(_changes(conf).items()) if name not in known},
    }


def _type(option: str, description: Mapping[str, Any]) -> str:
    """Return the type of an option. Airflow declares many booleans as text; one of them has a third value."""
    is_boolean = str(description.get("default")) in {"True", "False"} and option != "expose_config"
    return "boolean" if is_boolean else description.get("type") or "string"


def _changes(conf: Any) -> dict[str, dict[str, str]]:
    """Return the options that the version has renamed or removed: the new name, or what to do instead."""
    changed = {
        f"{section}.{option}": {"renamed": ".".join(new)}
        for new, (section, option, _) in conf.deprecated_options.items()
    }
    try:
        from airflow.cli.commands.config_command import CONFIGS_CHANGES  # noqa: PLC0415
    except ImportError:
        return changed
    for change in CONFIGS_CHANGES:
        name = f"{change.config.section}.{change.config.option}"
        if change.renamed_to:
            changed[name] = {"renamed": f"{change.renamed_to.section}.{change.renamed_to.option}"}
        elif change.was_removed and not change.default_change:
            changed.setdefault(name, {"removed": " ".join(change.suggestion.split())})
    return changed


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    target = FOLDER / f"airflow-{version('apache-airflow')}.json"
    target.write_text(json.dumps(schema(), indent=1) + "\n", "utf-8")
    print(target)
