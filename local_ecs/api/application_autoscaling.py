# SPDX-License-Identifier: Apache-2.0
"""The operations of Application Auto Scaling that Terraform needs, for ECS services.

Targets and policies are kept and given back. Nothing follows them: nobody measures a service's CPU here, so a service
keeps the number of tasks that it was made with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import uuid4

from local_ecs.api.backend import page
from local_ecs.api.journal import Journal
from local_ecs.api.protocol import Caller, Handlers
from local_ecs.model import Ecs, EcsError

Json = dict[str, Any]
Key = tuple[str, str, str]
"""Namespace, resource and dimension: what a target is known by."""

_DESIRED_COUNT: Final = "ecs:service:DesiredCount"
_SETTABLE: Final = ("MinCapacity", "MaxCapacity", "SuspendedState")
_POLICY: Final = ("PolicyType", "StepScalingPolicyConfiguration", "TargetTrackingScalingPolicyConfiguration")


class ApplicationAutoScaling:
    """Scalable targets of one account and Region with their policies and tags."""

    def __init__(self, ecs: Ecs, journal: Journal, now: Callable[[], float]) -> None:
        self._ecs = ecs
        self._journal = journal
        self._now = now
        self._targets: dict[Key, Json] = {}
        self._policies: dict[tuple[Key, str], Json] = {}
        self._tags: dict[str, dict[str, str]] = {}

    @property
    def handlers(self) -> Handlers:
        """The operations by name."""
        return {
            "RegisterScalableTarget": self.register,
            "DescribeScalableTargets": self.describe_targets,
            "DeregisterScalableTarget": self.deregister,
            "PutScalingPolicy": self.put_policy,
            "DescribeScalingPolicies": self.describe_policies,
            "DeleteScalingPolicy": self.delete_policy,
            "ListTagsForResource": self.list_tags,
            "TagResource": self.tag,
            "UntagResource": self.untag,
        }

    def register(self, request: Json, caller: Caller) -> Json:
        """Make a target, or change the one there is."""
        key = _key(request)
        before = self._targets.get(key)
        if before is None:
            self._check_new(request)
        target: Json = {**(before or self._new(key)), **{k: request[k] for k in _SETTABLE if k in request}}
        if target["MinCapacity"] > target["MaxCapacity"]:
            raise _invalid("Maximum capacity cannot be less than minimum capacity")
        self._targets[key] = target
        self._tags.setdefault(target["ScalableTargetARN"], {}).update(request.get("Tags", {}))
        self._journal.add("RegisterScalableTarget", resource=key[1], who=caller.name)
        return {"ScalableTargetARN": target["ScalableTargetARN"]}

    def describe_targets(self, request: Json, _caller: Caller) -> Json:
        """List the targets of a namespace, or some of them."""
        found = [
            target
            for key, target in self._targets.items()
            if _matches(key, request) and key[1] in request.get("ResourceIds", (key[1],))
        ]
        return _page("ScalableTargets", found, request)

    def deregister(self, request: Json, caller: Caller) -> Json:
        """Forget a target, its tags and its policies."""
        key = _key(request)
        target = self._targets.pop(self._known(key))
        del self._tags[target["ScalableTargetARN"]]
        self._policies = {where: policy for where, policy in self._policies.items() if where[0] != key}
        self._journal.add("DeregisterScalableTarget", resource=key[1], who=caller.name)
        return {}

    def put_policy(self, request: Json, _caller: Caller) -> Json:
        """Make a policy of a target, or replace the one of its name."""
        key, name = self._known(_key(request)), request["PolicyName"]
        before = self._policies.get((key, name))
        policy = before or {
            **_names(key),
            "PolicyName": name,
            "PolicyARN": self._policy_arn(key, name),
            "CreationTime": self._now(),
            "Alarms": [],
        }
        kept = {k: v for k, v in policy.items() if k not in _POLICY}
        self._policies[key, name] = {**kept, **{k: request[k] for k in _POLICY if k in request}}
        return {"PolicyARN": policy["PolicyARN"], "Alarms": []}

    def describe_policies(self, request: Json, _caller: Caller) -> Json:
        """List policies by namespace, resource, dimension and name."""
        found = [
            policy
            for (key, name), policy in self._policies.items()
            if _matches(key, request)
            and key[1] == request.get("ResourceId", key[1])
            and name in (request.get("PolicyNames") or (name,))
        ]
        return _page("ScalingPolicies", found, request)

    def delete_policy(self, request: Json, _caller: Caller) -> Json:
        """Forget a policy."""
        where = (_key(request), request["PolicyName"])
        if where not in self._policies:
            raise EcsError("ObjectNotFoundException", f"No scaling policy found for {where[0][1]} named {where[1]}")
        del self._policies[where]
        return {}

    def list_tags(self, request: Json, _caller: Caller) -> Json:
        """List a target's tags."""
        return {"Tags": self._tagged(request)}

    def tag(self, request: Json, _caller: Caller) -> Json:
        """Add tags to a target."""
        self._tagged(request).update(request["Tags"])
        return {}

    def untag(self, request: Json, _caller: Caller) -> Json:
        """Remove tags of a target."""
        tags = self._tagged(request)
        for name in request["TagKeys"]:
            tags.pop(name, None)
        return {}

    def snapshot(self) -> Json:
        """Return everything as JSON data."""
        return {
            "version": 1,
            "targets": list(self._targets.values()),
            "policies": list(self._policies.values()),
            "tags": self._tags,
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Take what `snapshot` gave."""
        if data["version"] != 1:
            raise ValueError(f"version {data['version']}")
        self._targets = {_key(target): target for target in data["targets"]}
        self._policies = {(_key(policy), policy["PolicyName"]): policy for policy in data["policies"]}
        self._tags = dict(data["tags"])

    def _check_new(self, request: Json) -> None:
        if (request["ServiceNamespace"], request["ScalableDimension"]) != ("ecs", _DESIRED_COUNT):
            raise _invalid("Here only ECS services have targets.")
        if "MinCapacity" not in request or "MaxCapacity" not in request:
            raise _invalid("Both MinCapacity and MaxCapacity are required to register a new scalable target.")
        kind, _, rest = request["ResourceId"].partition("/")
        cluster, _, service = rest.partition("/")
        if kind != "service" or not service:
            raise _invalid(f"Unsupported service namespace, resource type or scalable dimension: {rest}")
        try:
            self._ecs.services.get(service, cluster=cluster)
        except EcsError:
            raise _invalid(f"ECS service doesn't exist: {request['ResourceId']}") from None

    def _new(self, key: Key) -> Json:
        numbers = self._ecs.settings
        role = "ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService"
        where = f"arn:aws:application-autoscaling:{numbers.region}:{numbers.account}"
        return {
            **_names(key),
            "RoleARN": f"arn:aws:iam::{numbers.account}:role/aws-service-role/{role}",
            "CreationTime": self._now(),
            "ScalableTargetARN": f"{where}:scalable-target/{uuid4().hex}",
        }

    def _policy_arn(self, key: Key, name: str) -> str:
        numbers = self._ecs.settings
        where = f"arn:aws:autoscaling:{numbers.region}:{numbers.account}"
        return f"{where}:scalingPolicy:{uuid4()}:resource/{key[0]}/{key[1]}:policyName/{name}"

    def _known(self, key: Key) -> Key:
        if key not in self._targets:
            message = f"No scalable target found for service namespace: {key[0]}, resource ID: {key[1]}"
            raise EcsError("ObjectNotFoundException", f"{message}, scalable dimension: {key[2]}")
        return key

    def _tagged(self, request: Json) -> dict[str, str]:
        arn = request["ResourceARN"]
        if arn not in self._tags:
            raise EcsError("ResourceNotFoundException", f"Scalable target not found: {arn}")
        return self._tags[arn]


def _key(named: Mapping[str, Any]) -> Key:
    return named["ServiceNamespace"], named["ResourceId"], named["ScalableDimension"]


def _names(key: Key) -> Json:
    return dict(zip(("ServiceNamespace", "ResourceId", "ScalableDimension"), key, strict=True))


def _matches(key: Key, request: Json) -> bool:
    namespace, _, dimension = key
    return (namespace, dimension) == (request["ServiceNamespace"], request.get("ScalableDimension", dimension))


def _page(member: str, found: list[Json], request: Json) -> Json:
    spelled = {small: request[big] for big, small in _PAGING.items() if big in request}
    some, rest = page(found, spelled)
    return {member: some, **{big: rest[small] for big, small in _PAGING.items() if small in rest}}


_PAGING: Final = {"MaxResults": "maxResults", "NextToken": "nextToken"}


def _invalid(message: str) -> EcsError:
    return EcsError("ValidationException", message)
