"""EventBridge and SNS: what they send to functions, queues, topics and state machines."""

from __future__ import annotations

import logging
from typing import Any

from moto.core.utils import (
    iso_8601_datetime_with_milliseconds,
    iso_8601_datetime_without_milliseconds,
    utcfromtimestamp,
)
from moto.events import models as events
from moto.sns import models as sns
from moto.utilities.arns import parse_arn

from lambent.embedded import inputs, native

_log = logging.getLogger("lambent.embedded")

_rule_sends = events.Rule.send_to_targets
_subscription_publishes = sns.Subscription.publish


def send_to_targets(rule: Any, event: Any, transform_input: bool = True) -> None:
    """As EventBridge does: each target by itself, so that one that fails keeps nothing from the others."""
    if rule.state != "ENABLED" or not rule.event_pattern.get_pattern() or not rule.event_pattern.matches_event(event):
        return  # a rule that has only a schedule matches nothing
    deliver(rule, event, transform_input)


def deliver(rule: Any, event: Any, transform_input: bool = True) -> None:
    """To every target of the rule."""
    targets = rule.targets
    others = [target for target in targets if not _send(rule, target, event)]
    for target in others:  # what moto knows
        rule.targets = [target]
        try:
            _rule_sends(rule, event, transform_input)
        except Exception as error:
            _log.warning("the rule %s could not reach its target %s: %s", rule.name, target.get("Arn"), error)
        finally:
            rule.targets = targets


def _send(rule: Any, target: dict[str, Any], event: Any) -> bool:
    """True where the target is one that moto does not know."""
    arn = parse_arn(target["Arn"])
    send = _TARGETS.get(arn.service)
    if send is None:
        return False
    try:
        send(rule, target["Arn"], _input(rule, target, event))
    except Exception as error:
        _log.warning("the rule %s could not reach its target %s: %s", rule.name, target["Arn"], error)
    return True


def _input(rule: Any, target: dict[str, Any], event: Any) -> str:
    shown = {name: value for name, value in event.items() if name != "ingestion-time"}
    if isinstance(shown.get("time"), int | float):
        shown["time"] = iso_8601_datetime_without_milliseconds(utcfromtimestamp(shown["time"]))
    return inputs.of_target(target, shown, {"arn": rule.arn, "name": rule.name})


def _to_function(rule: Any, arn: str, text: str) -> None:
    place = parse_arn(arn)
    native.send_event(arn, place.account, place.region, text)


def _to_topic(rule: Any, arn: str, text: str) -> None:
    place = parse_arn(arn)
    sns.sns_backends[place.account][place.region].publish(arn=arn, message=text)


def _to_state_machine(rule: Any, arn: str, text: str) -> None:
    from moto.stepfunctions.responses import get_backend

    place = parse_arn(arn)
    get_backend(place.account, place.region).start_execution(state_machine_arn=arn, name=None, execution_input=text)


_TARGETS = {"lambda": _to_function, "sns": _to_topic, "states": _to_state_machine}


def rules() -> list[Any]:
    """Every rule that there is."""
    buses = (
        bus
        for regions in list(events.events_backends.values())
        for backend in list(regions.values())
        for bus in list(backend.event_buses.values())
    )
    return [rule for bus in buses for rule in list(bus.rules.values())]


def publish(subscription: Any, message: str, message_id: str, *rest: Any, **named: Any) -> None:
    """SNS: to a function as AWS words it; to anything else as moto does."""
    if subscription.protocol != "lambda":
        _subscription_publishes(subscription, message, message_id, *rest, **named)
        return
    names = ("subject", "message_attributes", "group_id", "deduplication_id", "message_structure")
    named = dict(zip(names, rest, strict=False)) | named
    attributes = named.get("message_attributes")
    matcher = subscription._filter_policy_matcher
    if matcher is not None and not matcher.matches(attributes, message):
        return
    if named.get("message_structure") == "json":
        message = subscription._parse_message_structure(message, "lambda")
    posted = subscription.get_post_data(message, message_id, named.get("subject"))
    notification = {
        "Type": "Notification",
        "MessageId": message_id,
        "TopicArn": subscription.topic.arn,
        "Subject": named.get("subject"),
        "Message": message,
        "Timestamp": iso_8601_datetime_with_milliseconds(),
        "SignatureVersion": posted["SignatureVersion"],
        "Signature": posted["Signature"],
        "SigningCertUrl": posted["SigningCertURL"],
        "UnsubscribeUrl": posted["UnsubscribeURL"],
        "MessageAttributes": attributes or {},
    }
    record = {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription.arn,
        "Sns": notification,
    }
    place = parse_arn(subscription.endpoint)
    try:
        native.send_event(subscription.endpoint, place.account, place.region, {"Records": [record]})
    except native.ClientError as error:
        _log.warning("%s could not be delivered to %s: %s", subscription.topic.arn, subscription.endpoint, error)
