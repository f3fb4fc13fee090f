# SPDX-License-Identifier: Apache-2.0
"""What is changed in a worker of Airflow 3."""
