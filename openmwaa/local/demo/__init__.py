# SPDX-License-Identifier: Apache-2.0
"""The demonstration: a burst of tasks on a whole environment, and workers that grow and shrink before one's eyes."""
