# SPDX-License-Identifier: Apache-2.0
"""The DAG syncer: copies a bucket to a local folder, in complete versions.

Each container that reads DAGs has one. Every few seconds it lists the bucket (one request for 1000 objects), downloads
the changed objects, builds `versions/<manifest hash>/` and replaces the symbolic link `current`. Rejected alternatives:
the provider's S3 bundle (each task process initialises it again: 2 s and 0.75 CPU-s for each task), and `aws s3 sync`
into one folder (readers see incomplete versions and deleted files).

A git repository is read in the same way: one question for the branch, and a fetch when it moved. Airflow's git bundle
would cost each task process 2 s too.

The modules: manifest (pure), folder, bucket (S3), git_repository, main (the loop).
"""
