"""IAM user guide, "Policy evaluation logic" and "Principal": a table of its rules, each decision with its reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.services.iam import evaluator
from lambent.services.iam.documents import Kind
from lambent.services.iam.evaluator import Policies

from .rules import (
    ACCOUNT,
    ALLOWED,
    DENIED,
    FUNCTION,
    IMPLICIT,
    INVOKE,
    OTHER,
    ROLE,
    ROOT,
    SESSION,
    USER,
    allow,
    ann,
    ask,
    deny,
    effect,
    events,
    nobody,
    on_resource,
    policy,
    root,
    statement,
    stranger,
    to,
    worker,
)

DEFAULT = "By default everything is denied"
EXPLICIT = "An explicit deny in any policy overrides every allow"
ROOT_USER = "The root user of an account may do everything in it, unless a resource's policy denies it"
ELEMENTS = "Every element of a statement must fit"
NOT = "NotAction and NotResource mean everything but what they list"
UNION = "In one account, identity and resource policies add up"
DIRECT = "A resource's policy that names the very user or session needs no other allow"
DELEGATED = "A resource's policy that names the account leaves it to the account's own policies"
BOUNDARY = "A permissions boundary bounds identity policies"
BOUNDARY_ROLE = "... and what a resource's policy allows to a role or to everybody, not to the user or session itself"
SESSIONS = "Session policies bound what the role may do"
CROSS = "From another account both sides must allow it"
SERVICE = "A service is allowed by the resource's policy alone"
ANONYMOUS = "Who is nobody is allowed by a resource's policy for everybody"
NOT_PRINCIPAL = "NotPrincipal with Deny spares those who are listed with everything that they are"
TRUST = "A role's trust policy alone opens the role"
KEY = "A key's policy alone opens the key; naming the account hands it to identity policies"
CONDITIONS = "Several conditions and keys: all must hold"
VERSION = "Policy variables need version 2012-10-17"

may = [policy(allow())]
may_all = [policy(allow("*", "*"))]
account_of_ann = on_resource(to({"AWS": ROOT}))
for_ann, for_role = on_resource(to({"AWS": USER})), on_resource(to({"AWS": ROLE}))
for_session = on_resource(to({"AWS": SESSION}))
for_all = on_resource(to("*"))
for_other = on_resource(to({"AWS": OTHER}))
nothing = policy(allow("s3:*", "*"), name="the boundary")
some = policy(allow("lambda:*", "*"), name="the boundary")
guarded = on_resource(to("*"), to("*", effect="Deny", Condition={"Bool": {"aws:SecureTransport": "false"}}))
not_ann = on_resource(statement("Deny", NotPrincipal={"AWS": [USER, ROOT]}))
not_ann_alone = on_resource(statement("Deny", NotPrincipal={"AWS": USER}))
not_worker = on_resource(statement("Deny", NotPrincipal={"AWS": [SESSION, ROLE, ROOT]}))
not_role_alone = on_resource(statement("Deny", NotPrincipal={"AWS": [ROLE, ROOT]}))
source = {"ArnLike": {"aws:SourceArn": "arn:aws:events:*:*:rule/r"}}
for_events = on_resource(to({"Service": "events.amazonaws.com"}, Condition=source))
ASSUME = "sts:AssumeRole"


def trust(principal, **elements):
    return on_resource(to(principal, Action=ASSUME, Resource=None, **elements), kind=Kind.TRUST)


def assume(principal=ann, **context):
    return ask(principal, ASSUME, ROLE, ACCOUNT, **context)


may_assume = [policy(allow(ASSUME, ROLE))]
DECRYPT, THE_KEY = "kms:Decrypt", f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"
may_decrypt = [policy(allow(DECRYPT, "*"))]


def key(principal):
    return on_resource(to(principal, Action="kms:*", Resource="*"))


def decrypt(principal=ann):
    return ask(principal, DECRYPT, THE_KEY, ACCOUNT)


CASES = [
    # (rule, question, policies, outcome)
    (DEFAULT, ask(), {}, IMPLICIT),
    (DEFAULT, ask(), {"identity": [policy(allow("s3:*", "*"))]}, IMPLICIT),
    (DEFAULT, ask(worker), {}, IMPLICIT),
    (DEFAULT, ask(nobody, owner=ACCOUNT), {}, IMPLICIT),
    (DEFAULT, ask(events, owner=ACCOUNT), {}, IMPLICIT),
    (DEFAULT, ask(), {"identity": may}, ALLOWED),
    (DEFAULT, ask(), {"identity": [policy(allow("s3:*", "*")), policy(allow())]}, ALLOWED),
    (EXPLICIT, ask(), {"identity": [policy(allow(), deny())]}, DENIED),
    (EXPLICIT, ask(), {"identity": [policy(deny(), allow())]}, DENIED),
    (EXPLICIT, ask(), {"identity": [policy(allow()), policy(deny("*", "*"))]}, DENIED),
    (EXPLICIT, ask(), {"identity": may, "resource": on_resource(to({"AWS": USER}, effect="Deny"))}, DENIED),
    (EXPLICIT, ask(), {"identity": may, "resource": on_resource(to({"AWS": ROOT}, effect="Deny"))}, DENIED),
    (EXPLICIT, ask(), {"identity": may, "resource": on_resource(to("*", effect="Deny"))}, DENIED),
    (EXPLICIT, ask(), {"identity": may, "resource": on_resource(to({"AWS": OTHER}, effect="Deny"))}, ALLOWED),
    (EXPLICIT, ask(), {"identity": may, "boundary": policy(allow("*", "*"), deny())}, DENIED),
    (EXPLICIT, ask(worker), {"identity": may, "session": [policy(allow("*", "*"), deny())]}, DENIED),
    (EXPLICIT, ask(worker), {"identity": may, "resource": on_resource(to({"AWS": ROLE}, effect="Deny"))}, DENIED),
    (EXPLICIT, ask(), {"identity": [policy(deny())], "resource": for_ann}, DENIED),
    (EXPLICIT, ask(), {"identity": [policy(allow(), deny(resource=FUNCTION + ":*"))]}, ALLOWED),
    (EXPLICIT, ask(), {"resource": guarded, "identity": may}, ALLOWED),
    (EXPLICIT, ask(aws__SecureTransport="false"), {"resource": guarded, "identity": may}, DENIED),
    (EXPLICIT, ask(root), {"resource": on_resource(to("*", effect="Deny"))}, DENIED),
    (ROOT_USER, ask(root), {}, ALLOWED),
    (ROOT_USER, ask(root, "iam:CreateUser", "*"), {}, ALLOWED),
    (ROOT_USER, ask(root), {"resource": for_other}, ALLOWED),
    (ROOT_USER, ask(root), {"resource": on_resource(to({"AWS": ROOT}, effect="Deny"))}, DENIED),
    (ROOT_USER, ask(root, owner=OTHER), {}, IMPLICIT),
    (ROOT_USER, ask(root, owner=OTHER), {"resource": account_of_ann}, ALLOWED),
    (ELEMENTS, ask(action="lambda:GetFunction"), {"identity": may}, IMPLICIT),
    (ELEMENTS, ask(resource=FUNCTION + ":1"), {"identity": may}, IMPLICIT),
    (ELEMENTS, ask(action="LAMBDA:invokefunction"), {"identity": may}, ALLOWED),
    (ELEMENTS, ask(), {"identity": [policy(allow([INVOKE, "s3:*"], ["arn:aws:s3:::*", FUNCTION]))]}, ALLOWED),
    (ELEMENTS, ask(action="lambda:ListFunctions", resource="*"), {"identity": [policy(allow("lambda:*"))]}, IMPLICIT),
    (ELEMENTS, ask(action="lambda:ListFunctions", resource="*"), {"identity": may_all}, ALLOWED),
    (NOT, ask(), {"identity": [policy(allow(Action=None, NotAction="iam:*"))]}, ALLOWED),
    (NOT, ask(), {"identity": [policy(allow(Action=None, NotAction=["iam:*", "lambda:Invoke*"]))]}, IMPLICIT),
    (NOT, ask(), {"identity": [policy(allow(Action=None, NotAction="LAMBDA:invokeFUNCTION"))]}, IMPLICIT),
    (NOT, ask(), {"identity": [policy(allow(Resource=None, NotResource="arn:aws:s3:::*"))]}, ALLOWED),
    (NOT, ask(), {"identity": [policy(allow(Resource=None, NotResource=[FUNCTION]))]}, IMPLICIT),
    (NOT, ask(), {"identity": [*may, policy(deny(Action=None, NotAction="lambda:*", Resource="*"))]}, ALLOWED),
    (NOT, ask(), {"identity": [*may, policy(deny(Action=None, NotAction="s3:*", Resource="*"))]}, DENIED),
    (NOT, ask(), {"identity": [*may, policy(deny(Resource=None, NotResource=FUNCTION))]}, ALLOWED),
    (NOT, ask(), {"identity": [*may, policy(deny(Resource=None, NotResource=FUNCTION + ":*"))]}, DENIED),
    (UNION, ask(), {"identity": may, "resource": for_other}, ALLOWED),
    (UNION, ask(), {"resource": for_all}, ALLOWED),
    (UNION, ask(worker), {"resource": for_role}, ALLOWED),
    (UNION, ask(), {"resource": for_role}, IMPLICIT),
    (UNION, ask(worker), {"resource": for_all}, ALLOWED),
    (UNION, ask(), {"resource": on_resource(to("*", Resource=FUNCTION + ":1"))}, IMPLICIT),
    (UNION, ask(), {"resource": on_resource(to("*", Action="lambda:GetFunction"))}, IMPLICIT),
    (DIRECT, ask(), {"resource": for_ann}, ALLOWED),
    (DIRECT, ask(worker), {"resource": for_session}, ALLOWED),
    (DIRECT, ask(worker), {"resource": for_ann}, IMPLICIT),
    (DIRECT, ask(), {"resource": for_ann, "boundary": nothing}, ALLOWED),
    (DIRECT, ask(worker), {"resource": for_session, "boundary": nothing}, ALLOWED),
    (DIRECT, ask(worker), {"resource": for_session, "session": [nothing]}, ALLOWED),
    (DELEGATED, ask(), {"resource": account_of_ann}, IMPLICIT),
    (DELEGATED, ask(), {"resource": on_resource(to({"AWS": ACCOUNT}))}, IMPLICIT),
    (DELEGATED, ask(), {"resource": account_of_ann, "identity": may}, ALLOWED),
    (DELEGATED, ask(worker), {"resource": account_of_ann}, IMPLICIT),
    (DELEGATED, ask(worker), {"resource": account_of_ann, "identity": may}, ALLOWED),
    (BOUNDARY, ask(), {"identity": may, "boundary": some}, ALLOWED),
    (BOUNDARY, ask(), {"identity": may, "boundary": nothing}, IMPLICIT),
    (BOUNDARY, ask(), {"boundary": some}, IMPLICIT),
    (BOUNDARY, ask(worker), {"identity": may_all, "boundary": nothing}, IMPLICIT),
    (BOUNDARY, ask(), {"identity": may, "boundary": policy(allow(Action=None, NotAction="iam:*"))}, ALLOWED),
    (BOUNDARY_ROLE, ask(worker), {"resource": for_role, "boundary": nothing}, IMPLICIT),
    (BOUNDARY_ROLE, ask(worker), {"resource": for_role, "boundary": some}, ALLOWED),
    (BOUNDARY_ROLE, ask(), {"resource": for_all, "boundary": nothing}, IMPLICIT),
    (BOUNDARY_ROLE, ask(), {"resource": for_all, "boundary": some}, ALLOWED),
    (SESSIONS, ask(worker), {"identity": may, "session": [some]}, ALLOWED),
    (SESSIONS, ask(worker), {"identity": may, "session": [nothing]}, IMPLICIT),
    (SESSIONS, ask(worker), {"identity": may, "session": [nothing, some]}, ALLOWED),
    (SESSIONS, ask(worker), {"identity": may, "session": []}, IMPLICIT),
    (SESSIONS, ask(worker), {"session": [some]}, IMPLICIT),
    (SESSIONS, ask(worker), {"resource": for_role, "session": [nothing]}, IMPLICIT),
    (SESSIONS, ask(worker), {"identity": may, "session": [some], "boundary": nothing}, IMPLICIT),
    (CROSS, ask(stranger, owner=ACCOUNT), {"identity": may}, IMPLICIT),
    (CROSS, ask(stranger, owner=ACCOUNT), {"resource": for_other}, IMPLICIT),
    (CROSS, ask(stranger, owner=ACCOUNT), {"identity": may, "resource": for_other}, ALLOWED),
    (CROSS, ask(stranger, owner=ACCOUNT), {"identity": may, "resource": for_all}, ALLOWED),
    (CROSS, ask(stranger, owner=ACCOUNT), {"resource": for_all}, IMPLICIT),
    (CROSS, ask(stranger, owner=ACCOUNT), {"identity": may, "resource": for_ann}, IMPLICIT),
    (CROSS, ask(stranger, owner=ACCOUNT), {"identity": may, "resource": account_of_ann}, IMPLICIT),
    (CROSS, ask(stranger, owner=ACCOUNT), {"identity": may, "resource": for_other, "boundary": nothing}, IMPLICIT),
    (CROSS, ask(ann, owner=OTHER), {"resource": for_ann}, IMPLICIT),
    (CROSS, ask(ann, owner=OTHER), {"identity": may, "resource": for_ann}, ALLOWED),
    (CROSS, ask(worker, owner=OTHER), {"identity": may, "resource": for_session, "session": [nothing]}, IMPLICIT),
    (CROSS, ask(worker, owner=OTHER), {"identity": may, "resource": for_role, "session": [some]}, ALLOWED),
    (CROSS, ask(ann, owner=OTHER), {"identity": [*may, policy(deny())], "resource": for_ann}, DENIED),
    (SERVICE, ask(events, owner=ACCOUNT), {"resource": for_events}, IMPLICIT),
    (
        SERVICE,
        ask(events, owner=ACCOUNT, aws__SourceArn="arn:aws:events:us-east-1:111111111111:rule/r"),
        {"resource": for_events},
        ALLOWED,
    ),
    (
        SERVICE,
        ask(events, owner=ACCOUNT, aws__SourceArn="arn:aws:events:us-east-1:111111111111:rule/x"),
        {"resource": for_events},
        IMPLICIT,
    ),
    (SERVICE, ask(events, owner=ACCOUNT), {"resource": on_resource(to({"Service": "s3.amazonaws.com"}))}, IMPLICIT),
    (SERVICE, ask(events, owner=ACCOUNT), {"resource": for_all}, ALLOWED),
    (SERVICE, ask(events, owner=ACCOUNT), {"resource": account_of_ann}, IMPLICIT),
    (ANONYMOUS, ask(nobody, owner=ACCOUNT), {"resource": for_all}, ALLOWED),
    (ANONYMOUS, ask(nobody, owner=ACCOUNT), {"resource": on_resource(to({"AWS": "*"}))}, ALLOWED),
    (ANONYMOUS, ask(nobody, owner=ACCOUNT), {"resource": account_of_ann}, IMPLICIT),
    (ANONYMOUS, ask(nobody, owner=ACCOUNT), {"resource": for_ann}, IMPLICIT),
    (NOT_PRINCIPAL, ask(), {"identity": may, "resource": not_ann}, ALLOWED),
    (NOT_PRINCIPAL, ask(worker), {"identity": may, "resource": not_ann}, DENIED),
    (NOT_PRINCIPAL, ask(), {"identity": may, "resource": not_ann_alone}, DENIED),
    (NOT_PRINCIPAL, ask(worker), {"identity": may, "resource": not_worker}, ALLOWED),
    (NOT_PRINCIPAL, ask(worker), {"identity": may, "resource": not_role_alone}, DENIED),
    (NOT_PRINCIPAL, ask(stranger, owner=ACCOUNT), {"identity": may, "resource": not_ann}, DENIED),
    (TRUST, assume(), {"resource": trust({"AWS": USER}), "resource_decides": True}, ALLOWED),
    (TRUST, assume(), {"resource": trust({"AWS": ROOT}), "resource_decides": True}, IMPLICIT),
    (
        TRUST,
        assume(),
        {"resource": trust({"AWS": ROOT}), "identity": may_assume, "resource_decides": True},
        ALLOWED,
    ),
    (TRUST, assume(), {"identity": may_assume, "resource": trust({"AWS": OTHER}), "resource_decides": True}, IMPLICIT),
    (TRUST, assume(), {"identity": may_assume, "resource_decides": True}, IMPLICIT),
    (TRUST, assume(stranger), {"resource": trust({"AWS": OTHER}), "resource_decides": True}, IMPLICIT),
    (
        TRUST,
        assume(stranger),
        {"resource": trust({"AWS": OTHER}), "identity": may_assume, "resource_decides": True},
        ALLOWED,
    ),
    (
        TRUST,
        assume(events),
        {"resource": trust({"Service": "events.amazonaws.com"}), "resource_decides": True},
        ALLOWED,
    ),
    (
        TRUST,
        assume(events),
        {"resource": trust({"Service": "lambda.amazonaws.com"}), "resource_decides": True},
        IMPLICIT,
    ),
    (
        TRUST,
        assume(stranger, sts__ExternalId="42"),
        {
            "resource": trust({"AWS": OTHER}, Condition={"StringEquals": {"sts:ExternalId": "42"}}),
            "identity": may_assume,
            "resource_decides": True,
        },
        ALLOWED,
    ),
    (
        TRUST,
        assume(stranger, sts__ExternalId="7"),
        {
            "resource": trust({"AWS": OTHER}, Condition={"StringEquals": {"sts:ExternalId": "42"}}),
            "identity": may_assume,
            "resource_decides": True,
        },
        IMPLICIT,
    ),
    (KEY, decrypt(), {"resource": key({"AWS": USER}), "resource_decides": True}, ALLOWED),
    (KEY, decrypt(), {"resource": key({"AWS": ROOT}), "resource_decides": True}, IMPLICIT),
    (KEY, decrypt(), {"resource": key({"AWS": ROOT}), "identity": may_decrypt, "resource_decides": True}, ALLOWED),
    (KEY, decrypt(), {"resource": key({"AWS": OTHER}), "identity": may_decrypt, "resource_decides": True}, IMPLICIT),
    (KEY, decrypt(root), {"resource": key({"AWS": OTHER}), "resource_decides": True}, IMPLICIT),
    (KEY, decrypt(root), {"resource": key({"AWS": ROOT}), "resource_decides": True}, ALLOWED),
    (KEY, decrypt(worker), {"resource": key({"AWS": ROLE}), "resource_decides": True}, ALLOWED),
    (
        KEY,
        decrypt(worker),
        {"resource": key({"AWS": ROLE}), "boundary": nothing, "resource_decides": True},
        IMPLICIT,
    ),
    (
        CONDITIONS,
        ask(a__x="1", a__y="2"),
        {"identity": [policy(allow(Condition={"StringEquals": {"a:x": "1", "a:y": "2"}}))]},
        ALLOWED,
    ),
    (
        CONDITIONS,
        ask(a__x="1", a__y="3"),
        {"identity": [policy(allow(Condition={"StringEquals": {"a:x": "1", "a:y": "2"}}))]},
        IMPLICIT,
    ),
    (
        CONDITIONS,
        ask(a__x="1", a__y="7"),
        {"identity": [policy(allow(Condition={"StringEquals": {"a:x": "1"}, "NumericLessThan": {"a:y": 9}}))]},
        ALLOWED,
    ),
    (
        CONDITIONS,
        ask(a__x="1"),
        {"identity": [policy(allow(Condition={"StringEquals": {"a:x": "1"}, "Bool": {"a:y": True}}))]},
        IMPLICIT,
    ),
    (CONDITIONS, ask(a__x="1"), {"identity": [policy(allow(Condition={}))]}, ALLOWED),
    (
        VERSION,
        ask(aws__username="f"),
        {"identity": [policy(allow(resource=FUNCTION[:-1] + "${aws:username}"))]},
        ALLOWED,
    ),
    (
        VERSION,
        ask(aws__username="f"),
        {"identity": [policy(allow(resource=FUNCTION[:-1] + "${aws:username}"), version="2008-10-17")]},
        IMPLICIT,
    ),
    (VERSION, ask(), {"identity": [policy(allow(resource=FUNCTION[:-1] + "${aws:username}"))]}, IMPLICIT),
    (VERSION, ask(), {"identity": [policy(allow(resource=["${aws:username}", FUNCTION][1:]))]}, ALLOWED),
    (VERSION, ask(), {"identity": [*may, policy(deny(resource=FUNCTION[:-1] + "${aws:username}"))]}, ALLOWED),
]


@pytest.mark.parametrize(("rule", "question", "policies", "outcome"), CASES)
def test_rule(rule, question, policies, outcome):
    assert effect(question, **policies) == outcome, rule


# Why: what a person reads


def why(question, **policies):
    return evaluator.evaluate(question, Policies(**policies)).because


def test_an_allow_names_its_statement():
    named = policy(allow(Sid="Invoke"), name="the policy Work")
    assert why(ask(), identity=[named]) == f"statement 'Invoke' of the policy Work allows {INVOKE} on {FUNCTION}"


def test_an_explicit_deny_names_its_statement():
    assert why(ask(), identity=[policy(allow(), deny())]) == f"statement 2 of the policy denies {INVOKE} on {FUNCTION}"


def test_an_implicit_deny_names_the_nearest_statement():
    nearest = policy(allow("s3:*"), allow(Condition={"StringEquals": {"aws:SourceIp": "10.0.0.1"}}))
    assert why(ask(aws__SourceIp="10.0.0.2"), identity=[nearest]) == (
        f"no statement allows {INVOKE} on {FUNCTION}; the nearest is statement 2 of the policy, but it wants"
        " StringEquals aws:SourceIp 10.0.0.1: the request has 10.0.0.2"
    )


def test_a_resource_that_does_not_fit_is_told():
    other = policy(allow(resource=FUNCTION + ":prod"))
    assert why(ask(), identity=[other]).endswith(f"but its resources do not include {FUNCTION}")


def test_nothing_is_near():
    assert why(ask(), identity=[policy(allow("s3:*"))]) == f"no statement allows {INVOKE} on {FUNCTION}"


def test_a_boundary_is_blamed():
    assert why(ask(), identity=may, boundary=nothing) == (
        f"the permissions boundary the boundary does not allow {INVOKE} on {FUNCTION}"
    )


# Laws that hold for whatever policies there are

ACTIONS = st.sampled_from(["*", "lambda:*", INVOKE, "s3:*"])
RESOURCES = st.sampled_from(["*", FUNCTION, FUNCTION + ":*", "arn:aws:s3:::b"])
STATEMENTS = st.builds(statement, st.sampled_from(["Allow", "Deny"]), ACTIONS, RESOURCES)
POLICIES = st.lists(STATEMENTS, min_size=1, max_size=4).map(lambda listed: policy(*listed))
QUESTIONS = st.builds(
    ask,
    st.sampled_from([ann, worker]),
    st.sampled_from([INVOKE, "s3:GetObject"]),
    RESOURCES.filter(lambda r: "*" not in r),
)


@given(QUESTIONS, st.lists(POLICIES, max_size=3))
def test_a_deny_everywhere_denies_everything(question, identity):
    assert effect(question, identity=[*identity, policy(deny("*", "*"))]) == DENIED


@given(QUESTIONS, st.lists(POLICIES, max_size=3), POLICIES)
def test_a_boundary_never_adds(question, identity, boundary):
    bounded = effect(question, identity=identity, boundary=boundary)
    assert bounded != ALLOWED or effect(question, identity=identity) == ALLOWED


@given(
    QUESTIONS, st.permutations([policy(allow()), policy(deny(resource=FUNCTION + ":*")), policy(allow("s3:*", "*"))])
)
def test_the_order_of_policies_does_not_matter(question, identity):
    assert effect(question, identity=identity) == effect(question, identity=list(reversed(identity)))


@given(QUESTIONS, st.lists(POLICIES, max_size=2), st.lists(POLICIES, max_size=2))
def test_more_policies_take_away_only_by_a_deny(question, first, more):
    before, after = effect(question, identity=first), effect(question, identity=first + more)
    assert before != ALLOWED or after in (ALLOWED, DENIED)
    assert before != DENIED or after == DENIED
