# SPDX-License-Identifier: Apache-2.0
"""Fuzzers, for libFuzzer by atheris."""
