# SPDX-License-Identifier: Apache-2.0
"""What is changed in Airflow 2."""
