# SPDX-License-Identifier: Apache-2.0
"""An environment at the bounds: the longest names, the most queues and tags, the oddest allowed characters."""

import itertools
import json
from pathlib import Path
from typing import Any, Final

NAME: Final = "limits"
QUEUES: Final = 45
"""One more is too much for the policy of the worker's role, which IAM limits to 10 240 characters."""
_FLEETS: Final = 4
_TAG: Final = "é漢 _.:/=+-@"


def _long(start: str, length: int, filling: str) -> str:
    return start + "".join(itertools.islice(itertools.cycle(filling), length - len(start)))


def limits() -> dict[str, Any]:
    """Return the file."""
    names = ["default", *(_long(f"-_{number:02}", 40, "_-Zz9") for number in range(QUEUES - 1))]
    return {
        "name": _long("Z", 80, "-_z9"),
        "control_plane": "SEPARATE",  # so many queues do not fit into the task of all components
        "web_access": {"allow_http": True},
        "dag_s3_path": "d\u00e4gs & (odd)=+!'/~;@$,",
        "airflow_configuration_options": {"my_team.user": "${odd} %{x} <&> \"'\\ ~!#*`|"},
        "identity": {"path": _long("/", 63, "odd_+=,.@-~") + "/", "role_name_prefix": _long("_", 20, "+=,.@-Zz9")},
        "monitoring": {"alarm_emails": ["a.b+c@example.com"]},
        "metadata_database": {"kind": "AURORA_SERVERLESS_V2", "deletion_protection": False},
        "tags": {_long(f"{number:02}", 127, _TAG): _long("v", 256, _TAG) for number in range(48)},
        "fleets": {
            _long(f"f{number}", 20, "-x9"): {"queues": names[number::_FLEETS], "min": 0} for number in range(_FLEETS)
        },
    }


def written(folder: Path) -> Path:
    """Write the file as JSON, which is YAML, and return it."""
    file = folder / NAME / "environment.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(limits(), indent=1, ensure_ascii=False), encoding="utf-8")
    return file
