# SPDX-License-Identifier: Apache-2.0
"""The world behind the ports: each adapter keeps deadlines, checks every number and translates every error."""
