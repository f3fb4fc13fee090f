# SPDX-License-Identifier: Apache-2.0
"""The face of openmwaa: the model of an environment and the command line."""
