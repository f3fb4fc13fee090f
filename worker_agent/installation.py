# SPDX-License-Identifier: Apache-2.0
"""Installs the agent in a worker through Celery's signals. In other processes the import has no effect."""

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
from worker_agent.settings import AgentSettings

logger = get_logger(__name__)

_UID: Final = "openmwaa.worker_agent"
_STEP: Final = "InstalledProtectionStep"


def install(*, on_sigterm: Callable[[], None] | None = None) -> None:
    """Make every Celery worker of this process request protection before it consumes.

    Call it, once or repeatedly, in a module that the worker imports at its start: Airflow's `[celery]
    celery_config_options` module or the module of a Celery app. Other processes do not change. `on_sigterm` is called
    in the signal handler, when the container's stopTimeout starts.
    """
    on_worker_init = partial(_on_worker_init, on_sigterm or _nothing)
    signals.worker_init.connect(on_worker_init, weak=False, dispatch_uid=_UID)


def _nothing() -> None:
    """The default of `on_sigterm`."""


def _on_worker_init(on_sigterm: Callable[[], None], sender: Any = None, **_: Any) -> None:
    # Celery logs an exception of a signal handler and continues. An unprotected worker must not start.
    try:
        _protect(sender, on_sigterm)
    except SettingsError as error:
        logger.critical("worker agent: %s", error)
        raise SystemExit(78) from error  # EX_CONFIG
    except Exception as error:  # for every error: this worker would be unprotected
        logger.critical("worker agent: cannot be installed", exc_info=True)
        raise SystemExit(70) from error  # EX_SOFTWARE


def _log_unprotected(**_: Any) -> None:
    logger.info("worker agent: ECS_AGENT_URI is not set: this worker runs outside ECS and without scale-in protection")


def _protect(worker: Any, on_sigterm: Callable[[], None]) -> None:
    settings = AgentSettings.from_environment(os.environ)
    if settings is None:
        # Celery configures its logging after this signal, so the message waits until the worker is ready.
        signals.worker_ready.connect(_log_unprotected)
        return
    if settings.public_key is None:
        logger.warning("worker agent: WORKER_AGENT_PUBLIC_KEY is not set: this worker cannot drain")
    gate = Gate()
    endpoint = ProtectionEndpoint(settings.ecs_agent_uri, minutes=settings.protection_minutes)
    agent = Agent(settings, gate=gate, protection=endpoint)
    attributes = {"agent": agent, "gate": gate, "on_sigterm": staticmethod(on_sigterm)}
    step = type(_STEP, (ProtectionStep,), {"__module__": ProtectionStep.__module__, **attributes})
    worker.app.steps["consumer"].add(step)

    def on_shutting_down(**_: Any) -> None:
        agent.terminate()

    signals.worker_shutting_down.connect(on_shutting_down, weak=False, dispatch_uid=f"{_UID}.{id(agent)}")
