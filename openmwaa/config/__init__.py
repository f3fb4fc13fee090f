# SPDX-License-Identifier: Apache-2.0
"""The environment file as pydantic models; imports nothing else of openmwaa."""
