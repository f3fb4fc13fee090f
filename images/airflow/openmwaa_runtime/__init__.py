# SPDX-License-Identifier: Apache-2.0
"""What a container of the Airflow image starts with."""
