# SPDX-License-Identifier: Apache-2.0
"""`dags`: the address of a repository and its parts, and what is refused before anything is applied."""

from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.environment_file import loads
from openmwaa.errors import EnvironmentFileError
from tests.support.every_field import GIT

FILE = Path("environment.yaml")
LEAST = "name: example\nweb_access: {allow_http: true}\n"
HTTPS = "git+https://github.com/org/dags@main"


def _file(dags: Any, **more: Any) -> str:
    import json

    return LEAST + "".join(f"{key}: {json.dumps(value)}\n" for key, value in {"dags": dags, **more}.items())


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        (HTTPS, ("https://github.com/org/dags", "main", "", "github.com", 443)),
        (
            "git+https://Git.example.com:8443/a/b%20c/d.git@release/1.2#teams/one",
            (
                "https://Git.example.com:8443/a/b%20c/d.git",
                "release/1.2",
                "teams/one",
                "git.example.com",
                8443,
            ),
        ),
        (
            "git+ssh://git@git.example.com/~me/dags@v1.0+1#.dags",
            ("ssh://git@git.example.com/~me/dags", "v1.0+1", ".dags", "git.example.com", 22),
        ),
    ],
)
def test_the_parts_of_an_address(url: str, parts: tuple[str, str, str, str, int]) -> None:
    dags = loads(_file({**GIT, "url": url} if "ssh" in url else url), FILE).dags
    assert dags is not None
    assert (dags.repository, dags.ref, dags.folder, dags.host, dags.port) == parts


def test_another_port_has_its_own_line_in_known_hosts() -> None:
    url = GIT["url"].replace("example.com", "example.com:2222")
    hosts = "# git.example.com:2222 SSH-2.0\n" + GIT["known_hosts"].replace("git.example.com", "[git.example.com]:2222")
    assert loads(_file({**GIT, "url": url, "known_hosts": hosts}), FILE).dags
    hashed = GIT["known_hosts"].replace("git.example.com", "|1|abc=|def=")
    assert loads(_file({**GIT, "url": url, "known_hosts": hashed}), FILE).dags


_WITHOUT = {key: value for key, value in GIT.items() if key != "known_hosts"}
REFUSED: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "a password in the address": ("git+https://me:secret@github.com/org/dags@main", {}, "dags", "no password"),
    "no branch": ("git+https://github.com/org/dags", {}, "dags", "@BRANCH"),
    "a file": ("git+file:///srv/dags@main", {}, "dags", "git+https://"),
    "without TLS": ("git+http://git.example.com/dags@main", {}, "dags", "git+https://"),
    "a port that does not exist": (HTTPS.replace(".com", ".com:65536"), {}, "dags.url", "has the port 65536"),
    "a host that does not exist": (HTTPS.replace("github.com", "-x..y"), {}, "dags", "git+https://"),
    "a reference": ("git+https://github.com/org/dags@refs/heads/main", {}, "dags.url", "the name of no branch or tag"),
    "a lock": ("git+https://github.com/org/dags@main.lock", {}, "dags.url", "the name of no branch or tag"),
    "a commit": (HTTPS.replace("main", "0" * 40), {}, "dags.url", "has the hash of a commit"),
    "a user without a secret": (HTTPS.replace("github", "me@github"), {}, "dags.url", "has a user without a secret"),
    "a folder above": (HTTPS + "#../etc", {}, "dags", "git+https://"),
    "SSH without a key": ({"url": GIT["url"]}, {}, "dags.url", "needs the secret of a private key"),
    "SSH without host keys": (_WITHOUT, {}, "dags.url", "`ssh-keyscan -p 22 git.example.com`"),
    "the key of another host": (
        {**GIT, "known_hosts": GIT["known_hosts"].replace("git.", "other.")},
        {},
        "dags.known_hosts",
        "must have a public key of git.example.com",
    ),
    "a line that is no key": ({**GIT, "known_hosts": "git.example.com"}, {}, "dags.known_hosts", "is no public key"),
    "a key that is cut": (
        {**GIT, "known_hosts": "git.example.com ssh-ed25519 AAAAC"},
        {},
        "dags.known_hosts",
        "is no public key",
    ),
    "a key of another type": (
        {**GIT, "known_hosts": GIT["known_hosts"].replace("ssh-ed25519", "ssh-rsa")},
        {},
        "dags.known_hosts",
        "is no public key",
    ),
    "a marker": ({**GIT, "known_hosts": "@revoked " + GIT["known_hosts"]}, {}, "dags.known_hosts", "no public key"),
    "host keys for HTTPS": ({**GIT, "url": HTTPS}, {}, "dags.known_hosts", "is for git+ssh://"),
    "a key of no secret": ({"url": HTTPS, "secret_kms_key": GIT["secret_kms_key"]}, {}, "dags.secret_kms_key", "no"),
    "a secret elsewhere": (
        {"url": HTTPS, "secret_arn": GIT["secret_arn"].replace("us-east-1", "eu-west-1")},
        {},
        "dags.secret_arn",
        "needs one in us-east-1",
    ),
    "no route": (HTTPS, {"network": {"egress": "ENDPOINTS_ONLY"}}, "dags", "there is no route to github.com"),
    "a port that is not open": (
        GIT,
        {"network": {"egress_ports": [443, 5432]}},
        "network.egress_ports",
        "the port 22 of git.example.com is not open",
    ),
}


@pytest.mark.parametrize(("dags", "more", "field", "reason"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_work_is_refused_with_its_field(dags: Any, more: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(EnvironmentFileError) as caught:
        loads(_file(dags, **more), FILE)
    (problem,) = caught.value.problems
    assert problem.field.startswith(field)
    assert reason in problem.message
    assert problem.line


@pytest.mark.parametrize(
    "ref", ["-x", "a b", "a..b", "a//b", "main/", "main.", "/main", ".main", "feature/#12", "a~1", "a^", "a:b", "a?"]
)
def test_a_name_that_git_refuses_is_no_branch(ref: str) -> None:
    with pytest.raises(EnvironmentFileError, match="@BRANCH"):
        loads(_file(f"git+https://github.com/org/dags@{ref}"), FILE)


def test_a_user_needs_a_secret_and_the_host_has_no_case() -> None:
    user = "git+https://x-token-auth@bitbucket.org/org/dags@_1"
    assert loads(_file({"url": user, "secret_arn": GIT["secret_arn"]}), FILE).dags
    assert loads(_file({**GIT, "url": GIT["url"].replace("git.example", "Git.Example")}), FILE).dags


@pytest.mark.parametrize("user", ["me:PASSWORD", "ghp_PASSWORD", "me:PASS@WORD"])
def test_an_error_has_no_password_of_an_address(user: str) -> None:
    with pytest.raises(EnvironmentFileError) as caught:
        loads(_file(f"git+https://{user}@github.com/org/dags@main"), FILE)
    assert "github.com" in str(caught.value) or "has a user" in str(caught.value)
    assert "PASS" not in str(caught.value)


def test_an_open_port_is_enough() -> None:
    assert loads(_file(GIT, network={"egress_ports": [22]}), FILE).dags
