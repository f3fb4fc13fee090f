# SPDX-License-Identifier: Apache-2.0
"""MWAA's API: the 12 operations of botocore's service model `mwaa`, signed with short-lived keys of ours."""
