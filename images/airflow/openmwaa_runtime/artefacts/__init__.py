# SPDX-License-Identifier: Apache-2.0
"""MWAA's artefacts of the bucket.

requirements_file  the lines of a requirements.txt, for uv (pure)
resolver           uv: the packages that fit the image, or that there are none
plugins            unpacks plugins.zip
"""
