# SPDX-License-Identifier: Apache-2.0
"""Inside every Celery worker: scale-in protection, the gate, the drain."""
