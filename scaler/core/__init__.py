# SPDX-License-Identifier: Apache-2.0
"""The pure core of the scaler: its decisions and their explanations, without I/O and clock (standard library only).

`decide.decide(fleet, observation, state, now)` is the entry point. The other modules are its steps, in the order of
the explanation: `bounds`, `demand`, `target` (with `policy` and `window`), then for each service `service_plan` (with
`workers` and `drain`).
"""
