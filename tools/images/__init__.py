# SPDX-License-Identifier: Apache-2.0
"""`make images`: both Dockerfiles checked by hadolint, built by buildah, and what is built started."""
