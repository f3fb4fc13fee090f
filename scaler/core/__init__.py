# SPDX-License-Identifier: Apache-2.0
"""The pure core of the scaler: what it decides and why, without I/O and without a clock (standard library only).

`decide.decide(fleet, observation, state, now)` is the whole of it; every other module here is one of its steps, in
the order in which a person would explain them: `bounds`, `demand`, `want` (with `policy` and `window`), then for each
service `generation` (with `roster` and `drain`). `record` keeps a tick and decides it again.
"""
