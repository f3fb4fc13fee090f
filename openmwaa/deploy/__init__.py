# SPDX-License-Identifier: Apache-2.0
"""`openmwaa deploy` and `openmwaa destroy`: steps that can be repeated, so a repeated command continues.

deployment     the steps of a deploy
destruction    the steps of a destroy
steps          the record of each step, and what the steps of both commands use
artefacts      whether the objects exist, and the requirements fit
requirements   whether a requirements.txt fits the image
quotas         what an apply adds to the account's use, beside the account's quotas
image_context  the files of an image, and the tag that is their hash
builders       docker, podman or buildah
pushed_images  the digests of the pushed images, kept beside the Terraform
"""
