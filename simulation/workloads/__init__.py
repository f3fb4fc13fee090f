# SPDX-License-Identifier: Apache-2.0
"""Days of Airflow to simulate: their form, readers, a seeded generator and the shipped workloads."""
