# SPDX-License-Identifier: Apache-2.0
"""MWAA's artefacts of the bucket: requirements.txt, plugins.zip and the startup script.

install            what a component does before Airflow starts
prepare            `prepare-artefacts`: the requirements are built once
build              builds the archive of the requirements
requirements       the archive of installed requirements
startup_script     runs the script and keeps its variables
plugins            unpacks plugins.zip
objects            the bucket and the log stream
requirements_file  the lines of a requirements.txt, for uv (pure)
resolver           uv: the packages that fit the image, or that there are none
"""
