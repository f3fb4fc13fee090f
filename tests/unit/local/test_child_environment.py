# SPDX-License-Identifier: Apache-2.0
"""The environment variables of programs that call the emulators."""

from openmwaa.local.child_environment import child_environment


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
