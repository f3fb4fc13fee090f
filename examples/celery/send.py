# SPDX-License-Identifier: Apache-2.0
"""Send 60 tasks."""

from tasks import resize

for number in range(60):
    resize.delay(number)
