# SPDX-License-Identifier: Apache-2.0
"""The implementations of the ports: each adapter keeps deadlines, checks every number and translates every error."""
