# SPDX-License-Identifier: Apache-2.0
"""The DAG syncer: bucket -> local folder, by whole versions.

One a container that reads DAGs. Every few seconds it lists the bucket (one request for 1000 objects), brings what
changed, builds `versions/<manifest hash>/` beside the others and swaps the symbolic link `current`. Rejected: the
provider's S3 bundle (every task process initialises it again: 2 s and 0.75 CPU-s a task), and `aws s3 sync` into one
folder (readers see halves, and a deleted file is found by chance).

manifest -> folder -> main; bucket is the way to S3.
"""
