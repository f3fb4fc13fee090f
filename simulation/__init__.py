# SPDX-License-Identifier: Apache-2.0
"""A whole environment in virtual time, to try the real scaler against everything that can go wrong.

ECS is `local_ecs.model.Ecs` with a picker that stops any unprotected task. Every worker is the real state machine
of the worker agent around a simple Celery consumer, the broker hands messages to polls that may outlive their worker,
and the scaler is the real `Supervisor` with ports that fail. A `Ledger` judges: tasks lost, tasks interrupted,
invariants broken. `removed.Removed` names the steps of the protocol that can be taken away: each must lose tasks.
"""
