# SPDX-License-Identifier: Apache-2.0
"""One loop a fleet: observe, decide, act, report; a supervisor that survives any one of them; HTTP beside it."""
