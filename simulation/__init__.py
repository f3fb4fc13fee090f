# SPDX-License-Identifier: Apache-2.0
"""A whole environment in virtual time, to test the real scaler against every kind of fault.

ECS is `local_ecs.model.Ecs` with a picker that stops any unprotected task. Every worker is the real state machine of
the worker agent around a simple Celery consumer. The broker gives messages to polls that may outlive their worker. The
scaler is the real `FleetSupervisor`, with ports that fail. A `RunLedger` records lost tasks, interrupted tasks and
broken invariants. `negative_controls.DisabledSafeguard` names the steps of the protocol that can be disabled: each must
lose tasks, or leave them waiting. `race_run` has a race for each step that random faults meet too rarely.
"""
