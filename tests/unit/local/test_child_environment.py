# SPDX-License-Identifier: Apache-2.0
"""The environment variables of programs that call the emulators."""

from pathlib import Path

import pytest

from openmwaa.local.child_environment import child_environment
from tests.support.terraform import emulator_environment


def test_certificates_proxies_python_packages_and_the_users_account_are_removed() -> None:
    base = {
        "PATH": "/bin",
        "HOME": "/home/x",
        "AWS_CA_BUNDLE": "c",
        "REQUESTS_CA_BUNDLE": "c",
        "CURL_CA_BUNDLE": "c",
        "https_proxy": "p",
        "HTTP_PROXY": "p",
        "no_proxy": "elsewhere",
        "PYTHONPATH": "/site-packages/with/another/botocore",
        "AWS_PROFILE": "production",
        "AWS_SESSION_TOKEN": "real",
        "AWS_ENDPOINT_URL": "https://real",
    }
    environment = child_environment({"MORE": "1"}, base=base)
    assert environment == {
        "PATH": "/bin",
        "HOME": "/home/x",
        "MORE": "1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.0/8,localhost",
        "no_proxy": "127.0.0.0/8,localhost",
    }


def test_terraform_for_emulators_has_their_endpoints_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        monkeypatch.setenv(name, "the user's")
    monkeypatch.setenv("TF_CLI_ARGS_apply", "-destroy")
    found = emulator_environment(tmp_path, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert "the user's" not in found.values()
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert "TF_CLI_ARGS_apply" not in found
