# SPDX-License-Identifier: Apache-2.0
"""How the agent gets into a worker: by Celery's signals, so that importing it elsewhere does nothing."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from celery import signals
from celery.utils.log import get_logger

from worker_agent.agent import Agent
from worker_agent.bootstep import ProtectionStep
from worker_agent.ecs import ProtectionEndpoint
from worker_agent.errors import SettingsError
from worker_agent.gate import Gate
from worker_agent.settings import Settings

logger = get_logger(__name__)

_UID: Final = "openmwaa.worker_agent"
_STEP: Final = "InstalledProtectionStep"


def install(*, on_sigterm: Callable[[], None] | None = None) -> None:
    """Have every Celery worker of this process protect itself before it consumes.

    Call it once or often, from any module that the worker imports before it starts: Airflow's
    `[celery] celery_config_options` module or a plain Celery app's tasks. Other processes are not changed. `on_sigterm`
    is called in the signal handler, when the container's stopTimeout begins to run.
    """
    on_worker_init = partial(_on_worker_init, on_sigterm or _nothing)
    signals.worker_init.connect(on_worker_init, weak=False, dispatch_uid=_UID)


def _nothing() -> None:
    """Nobody else wants to know of SIGTERM."""


def _on_worker_init(on_sigterm: Callable[[], None], sender: Any = None, **_: Any) -> None:
    # Celery logs an Exception of a signal handler and goes on; an unprotected worker must not.
    try:
        _protect(sender, on_sigterm)
    except SettingsError as error:
        logger.critical("worker agent: %s", error)
        raise SystemExit(78) from error  # EX_CONFIG
    except Exception as error:  # whatever it is, nothing would protect this worker
        logger.critical("worker agent: cannot be installed", exc_info=True)
        raise SystemExit(70) from error  # EX_SOFTWARE


def _say_that_nothing_protects(**_: Any) -> None:
    logger.info("worker agent: no ECS_AGENT_URI, so this worker is not in ECS and nothing protects it")


def _protect(worker: Any, on_sigterm: Callable[[], None]) -> None:
    settings = Settings.from_environment(os.environ)
    if settings is None:
        # Celery sets its logging up after this signal; a worker that is ready can be heard.
        signals.worker_ready.connect(_say_that_nothing_protects, weak=False, dispatch_uid=_UID)
        return
    if settings.public_key is None:
        logger.warning("worker agent: no WORKER_AGENT_PUBLIC_KEY, so no drain is obeyed")
    gate = Gate()
    endpoint = ProtectionEndpoint(settings.ecs_agent_uri, minutes=settings.protection_minutes)
    agent = Agent(settings, gate=gate, protection=endpoint)
    parts = {"agent": agent, "gate": gate, "on_sigterm": staticmethod(on_sigterm)}
    step = type(_STEP, (ProtectionStep,), {"__module__": ProtectionStep.__module__, **parts})
    worker.app.steps["consumer"].add(step)

    def on_shutting_down(**_: Any) -> None:
        agent.terminate()

    signals.worker_shutting_down.connect(on_shutting_down, weak=False, dispatch_uid=f"{_UID}.{id(agent)}")
