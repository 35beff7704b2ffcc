"""A shorthand for the tables of rules: policies in a line, questions in a line."""

import json

from lambent.services.iam import documents, evaluator, principals
from lambent.services.iam.documents import Kind
from lambent.services.iam.evaluator import Policies, Question
from lambent.services.iam.principals import Principal

ACCOUNT, OTHER = "111111111111", "222222222222"
USER = f"arn:aws:iam::{ACCOUNT}:user/ann"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/worker"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/s1"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
INVOKE = "lambda:InvokeFunction"
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"

ann = Principal(ACCOUNT, USER)
worker = Principal(ACCOUNT, SESSION, ROLE)
root = Principal(ACCOUNT, ROOT)
events = Principal(service="events.amazonaws.com")
stranger = Principal(OTHER, f"arn:aws:iam::{OTHER}:user/bob")
nobody = principals.ANONYMOUS

ALLOWED, DENIED, IMPLICIT = "allowed", "explicitDeny", "implicitDeny"


def statement(effect, action=INVOKE, resource=FUNCTION, **elements):
    """One statement; `Action=None` and the like leave an element out."""
    body = {"Effect": effect, "Action": action, "Resource": resource, **elements}
    return {name: value for name, value in body.items() if value is not None}


def allow(action=INVOKE, resource=FUNCTION, **elements):
    return statement("Allow", action, resource, **elements)


def deny(action=INVOKE, resource=FUNCTION, **elements):
    return statement("Deny", action, resource, **elements)


def policy(*statements, kind=Kind.IDENTITY, name="the policy", version="2012-10-17"):
    return documents.parse(json.dumps({"Version": version, "Statement": list(statements)}), kind, name)


def on_resource(*statements, kind=Kind.RESOURCE):
    return policy(*statements, kind=kind, name="the resource's policy")


def to(principal, *, effect="Allow", **elements):
    """A statement of a resource's policy."""
    return statement(effect, Principal=principal, **elements)


def ask(principal=ann, action=INVOKE, resource=FUNCTION, owner=None, **context):
    values = {
        key.lower().replace("__", ":"): value if isinstance(value, tuple) else (value,)
        for key, value in context.items()
    }
    return Question(principal, action, resource, owner, values)


def effect(question, **policies):
    return str(evaluator.evaluate(question, Policies(**policies)).effect)
