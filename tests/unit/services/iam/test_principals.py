"""Who an ARN names, and which condition keys follow from it."""

import pytest

from lambent.services.iam.principals import Principal, context_of, from_arn

from .rules import ACCOUNT, ROLE, ROOT, SESSION, USER, ann, events, nobody, root, worker


@pytest.mark.parametrize(
    ("arn", "principal"),
    [
        (USER, ann),
        (ROOT, root),
        (SESSION, worker),
        (f"arn:aws:iam::{ACCOUNT}:user/team/ann", Principal(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/team/ann")),
        (f"arn:aws:sts::{ACCOUNT}:federated-user/x", Principal(ACCOUNT, f"arn:aws:sts::{ACCOUNT}:federated-user/x")),
        (ROLE, None),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/worker", None),
        (f"arn:aws:sts::{ACCOUNT}:user/ann", None),
        (f"arn:aws:iam::{ACCOUNT}:assumed-role/worker/s1", None),
        (f"arn:aws:iam::{ACCOUNT}:root/x", None),
        (f"arn:aws:iam::{ACCOUNT}:user", None),
        ("arn:aws:iam::1:user/ann", None),
        ("", None),
    ],
)
def test_from_arn(arn, principal):
    assert from_arn(arn) == principal


def test_a_user_s_context():
    assert context_of(ann) == {
        "aws:principalaccount": (ACCOUNT,),
        "aws:principalarn": (USER,),
        "aws:principalisawsservice": ("false",),
        "aws:principaltype": ("User",),
        "aws:username": ("ann",),
    }


def test_a_session_is_known_by_its_role():
    context = context_of(worker)
    assert context["aws:principalarn"] == (ROLE,)
    assert context["aws:principaltype"] == ("AssumedRole",)
    assert "aws:username" not in context


def test_others():
    assert context_of(root)["aws:principaltype"] == ("Account",)
    assert context_of(events)["aws:principalisawsservice"] == ("true",)
    assert context_of(nobody) == {}
