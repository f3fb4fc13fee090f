# SPDX-License-Identifier: Apache-2.0
"""The differences in web access: load balancers are TCP proxies here, without TLS and without login page.

Certificate validation, Route 53 records, CloudFront and WAF are left out: nothing here uses them, and some of them wait
without end. URLs are those of the load balancers; `host_names` maps their host names to addresses.
There is no AWS console.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from openmwaa.config.ports import EXECUTION_API_PORT, HTTPS_PORT, SCALER_PORT, WEB_PORT

_LEFT_OUT: Final = re.compile(
    r"aws_(acm_certificate_validation|route53_record|cloudfront_\w+|wafv2_\w+|cloudwatch_log_delivery\w*)$"
)
_AUTHENTICATES: Final = "authenticate-"

Json = dict[str, Any]


def web_override(document: Mapping[str, Any], publish: int = 0) -> Json:
    """The override of a stack's web access: `locals`, `resource` and `data`, without empty parts.

    With `publish`, a port, browsers use http://localhost, and Airflow's login accepts its own web address only.
    """
    resources = document.get("resource") or {}
    left_out = _left_out({kind: named for kind, named in resources.items() if _LEFT_OUT.match(kind)})
    for name, listener in resources.get("aws_lb_listener", {}).items():
        if listener.get("protocol") == "HTTPS":
            left_out.setdefault("aws_lb_listener", {})[name] = _plain(listener)
    secrets = (document.get("data") or {}).get("aws_secretsmanager_secret_version", {})
    data = {"aws_secretsmanager_secret_version": {"oidc_client": {"count": 0}}} if "oidc_client" in secrets else {}
    parts: Json = {"locals": _locals(document, publish), "resource": left_out, "data": data}
    return {word: part for word, part in parts.items() if part}


def _left_out(resources: Mapping[str, Json]) -> dict[str, Json]:
    """Set the count of each resource to 0.

    Terraform requires an index at every reference to a resource with a count, so references between these resources get
    the index 0; Terraform does not evaluate it.
    """
    counted = [
        re.compile(rf"\b{kind}\.{name}\.")
        for kind, named in resources.items()
        for name, resource in named.items()
        if "for_each" not in resource
    ]
    result: dict[str, Json] = {}
    for kind, named in resources.items():
        for name, resource in named.items():
            none: Json = {"for_each": {}} if "for_each" in resource else {"count": 0}
            for word, value in resource.items():
                if word in ("depends_on", "for_each"):
                    continue
                before = after = json.dumps(value)
                for address in counted:
                    after = address.sub(lambda reference: f"{reference.group()[:-1]}[0].", after)
                if after != before:
                    none[word] = json.loads(after)
            result.setdefault(kind, {})[name] = none
    return result


def _plain(listener: Mapping[str, Any]) -> Json:
    """An HTTPS listener as HTTP without authentication."""
    actions = [
        {key: value for key, value in action.items() if key != "order"}
        for action in listener["default_action"]
        if not action["type"].startswith(_AUTHENTICATES)
    ]
    port = WEB_PORT if listener["port"] == HTTPS_PORT else listener["port"]
    return {"protocol": "HTTP", "port": port, "certificate_arn": None, "ssl_policy": None, "default_action": actions}


def _locals(document: Mapping[str, Any], publish: int) -> Json:
    known = document.get("locals") or {}
    urls = dict(_urls(document)) | ({"web_url": f"http://localhost:{publish}"} if publish else {})
    others = {"certificate_arn": "", "oidc_client_secret": "", "scaler_log_url": ""}
    return {name: value for name, value in {**urls, **others}.items() if name in known}


def _urls(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    balancers = (document.get("resource") or {}).get("aws_lb", {})
    web: str | None = None
    # The internal load balancer first: if both have the web server, it also has all other listeners.
    for name, balancer in sorted(balancers.items(), key=lambda item: not item[1].get("internal")):
        host = f"http://${{aws_lb.{name}.dns_name}}"
        if balancer.get("internal"):
            yield "execution_api_url", f"{host}:{EXECUTION_API_PORT}/execution/"
            yield "scaler_url", f"{host}:{SCALER_PORT}/"
        if web is None and _has_web(document, name):
            web = f"{host}:{WEB_PORT}"
            yield "web_url", web


def _has_web(document: Mapping[str, Any], balancer: str) -> bool:
    listeners = document["resource"].get("aws_lb_listener", {}).values()
    return any(
        listener["load_balancer_arn"] == f"${{aws_lb.{balancer}.arn}}"
        and any(action["type"] == "forward" for action in listener["default_action"])
        for listener in listeners
    )
