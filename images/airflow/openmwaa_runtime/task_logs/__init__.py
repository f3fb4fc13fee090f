# SPDX-License-Identifier: Apache-2.0
"""Task logs, from the supervisor of a task to CloudWatch or S3 and back.

`writer`, `lines`, `cloudwatch`, `s3` and `stream_name` do not import Airflow. `airflow_logging` connects them to
Airflow 3. Nothing is written to the disk.
"""
