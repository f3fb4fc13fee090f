# SPDX-License-Identifier: Apache-2.0
"""The demonstration: a burst of tasks on a whole environment, with workers that scale out and in."""
