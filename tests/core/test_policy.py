"""The judge: what each condition lets through, and in which order it asks."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from gateway.core.model import (
    Admit,
    Auth,
    ClaimHeld,
    ClientWithin,
    Condition,
    ConstantTenant,
    Grants,
    HostLabel,
    Identity,
    KeyIdIn,
    Kind,
    Match,
    PathCapture,
    PermissionsHeld,
    Reason,
    Refuse,
    RequestFacts,
    RolesHeld,
    Route,
    SelectedTenant,
    Target,
    TenantSource,
    Upstream,
    Wanted,
)
from gateway.core.policy import decide, findings

UPSTREAM = Upstream(name="legacy", authority="legacy:80", address="legacy", port=80)
FACTS = RequestFacts(
    method="GET",
    target=Target("/t/acme/docs", ("t", "acme", "docs")),
    authority="acme.example.com",
    host="acme.example.com",
    scheme="https",
    peer="10.1.2.3",
    client="10.1.2.3",
    headers=(),
    named={},
)
ADA = Identity(
    kind=Kind.SESSION,
    subject="U2ada",
    issued_at_s=0,
    not_before_s=0,
    expires_at_s=10**10,
    project=Grants(("admin", "user"), ("site.manage",)),
    tenants={"acme": Grants(("editor",), ("docs.read",)), "globex": Grants()},
    selected_tenant="acme",
    claims={"plan": "pro", "level": 3, "beta": True, "teams": ["red", "blue"]},
    digest=b"ada",
)
WORKER = replace(ADA, kind=Kind.ACCESS_KEY, subject="K2worker", project=Grants(("worker",)), tenants=None)


def judged(
    caller: Identity | Reason | None,
    *conditions: Condition,
    auth: Auth = Auth.SESSION,
    source: TenantSource | None = None,
    **captures: str,
) -> Admit | Reason:
    route = Route("r", "/x", UPSTREAM, auth=auth, conditions=conditions, tenant_from=source)
    decision = decide(FACTS, Match(route, captures), caller)
    return decision if isinstance(decision, Admit) else decision.reason


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        pytest.param(RolesHeld(Wanted(any=("admin", "owner"))), None, id="one of any"),
        pytest.param(RolesHeld(Wanted(any=("owner",))), Reason.ROLE_MISSING, id="none of any"),
        pytest.param(RolesHeld(Wanted(all=("admin", "user"))), None, id="all"),
        pytest.param(RolesHeld(Wanted(all=("admin", "owner"))), Reason.ROLE_MISSING, id="not all"),
        pytest.param(RolesHeld(Wanted(any=("admin",), all=("owner",))), Reason.ROLE_MISSING, id="any but not all"),
        pytest.param(RolesHeld(Wanted(any=("Admin",))), Reason.ROLE_MISSING, id="another case is another role"),
        pytest.param(RolesHeld(Wanted(any=("min",))), Reason.ROLE_MISSING, id="a part is not a role"),
        pytest.param(PermissionsHeld(Wanted(all=("site.manage",))), None, id="permission"),
        pytest.param(PermissionsHeld(Wanted(any=("docs.read",))), Reason.PERMISSION_MISSING, id="tenant's is not ours"),
        pytest.param(ClaimHeld("plan", any=("pro", "max")), None, id="claim"),
        pytest.param(ClaimHeld("plan", any=("max",)), Reason.CLAIM_MISMATCH, id="other value"),
        pytest.param(ClaimHeld("none", any=("max",)), Reason.CLAIM_MISMATCH, id="claim absent"),
        pytest.param(ClaimHeld("teams", all=("red", "blue")), None, id="claim is a list"),
        pytest.param(ClaimHeld("teams", all=("red", "green")), Reason.CLAIM_MISMATCH, id="list lacks one"),
        pytest.param(ClaimHeld("level", any=(3,)), None, id="number"),
        pytest.param(ClaimHeld("level", any=("3",)), Reason.CLAIM_MISMATCH, id="a number is no text"),
        pytest.param(ClaimHeld("beta", any=(True,)), None, id="truth"),
        pytest.param(ClaimHeld("beta", any=(1,)), Reason.CLAIM_MISMATCH, id="true is not one"),
        pytest.param(ClientWithin((ip_network("10.0.0.0/8"),)), None, id="client inside"),
        pytest.param(ClientWithin((ip_network("192.168.0.0/16"),)), Reason.CLIENT_NOT_ALLOWED, id="client outside"),
        pytest.param(ClientWithin((ip_network("::/0"),)), Reason.CLIENT_NOT_ALLOWED, id="other family"),
    ],
)
def test_a_condition_lets_through_exactly_what_it_names(condition: Condition, expected: Reason | None) -> None:
    decision = judged(ADA, condition)

    assert (None if isinstance(decision, Admit) else decision) == expected


@pytest.mark.parametrize(
    ("auth", "caller", "expected"),
    [
        pytest.param(Auth.SESSION, ADA, None, id="session on session"),
        pytest.param(Auth.SESSION, WORKER, Reason.WRONG_CREDENTIAL_KIND, id="key on session"),
        pytest.param(Auth.ACCESS_KEY, ADA, Reason.WRONG_CREDENTIAL_KIND, id="session on key"),
        pytest.param(Auth.ACCESS_KEY, WORKER, None, id="key on key"),
        pytest.param(Auth.ANY, ADA, None, id="session on any"),
        pytest.param(Auth.ANY, WORKER, None, id="key on any"),
        pytest.param(Auth.OPTIONAL, ADA, None, id="session on optional"),
        pytest.param(Auth.OPTIONAL, WORKER, Reason.WRONG_CREDENTIAL_KIND, id="key on optional"),
        pytest.param(Auth.OPTIONAL, Reason.NO_CREDENTIALS, None, id="nobody on optional"),
        pytest.param(Auth.OPTIONAL, Reason.TOKEN_EXPIRED, None, id="expired on optional"),
        pytest.param(Auth.OPTIONAL, Reason.IDENTITY_PROVIDER_BUSY, None, id="provider busy on optional"),
        pytest.param(Auth.OPTIONAL, Reason.IDENTITY_PROVIDER_UNAVAILABLE, None, id="provider away on optional"),
        pytest.param(Auth.OPTIONAL, Reason.TOKEN_BAD_SIGNATURE, Reason.TOKEN_BAD_SIGNATURE, id="forged on optional"),
        pytest.param(Auth.OPTIONAL, Reason.TOKEN_WRONG_ISSUER, Reason.TOKEN_WRONG_ISSUER, id="foreign on optional"),
        pytest.param(Auth.OPTIONAL, Reason.AMBIGUOUS_CREDENTIALS, Reason.AMBIGUOUS_CREDENTIALS, id="two on optional"),
        pytest.param(Auth.SESSION, Reason.NO_CREDENTIALS, Reason.NO_CREDENTIALS, id="nobody on session"),
        pytest.param(Auth.SESSION, None, Reason.NO_CREDENTIALS, id="a caller that nobody asked for is nobody"),
        pytest.param(Auth.PUBLIC, None, None, id="public"),
    ],
)
def test_the_kind_of_caller_is_held_against_the_route(
    auth: Auth, caller: Identity | Reason | None, expected: Reason | None
) -> None:
    decision = judged(caller, auth=auth)

    assert (None if isinstance(decision, Admit) else decision) == expected


def test_an_optional_route_with_requirements_refuses_nobody_in_particular() -> None:
    assert judged(Reason.NO_CREDENTIALS, RolesHeld(Wanted(any=("user",))), auth=Auth.OPTIONAL) is Reason.NO_CREDENTIALS


def test_an_anonymous_caller_is_admitted_without_an_identity() -> None:
    decision = judged(Reason.TOKEN_EXPIRED, auth=Auth.OPTIONAL)

    assert isinstance(decision, Admit)
    assert decision.identity is None


NO_REFERENCE = replace(ADA, tenants=None, selected_tenant="acme", project=Grants(("editor",), ("docs.read",)))


@pytest.mark.parametrize(
    ("caller", "source", "roles", "expected"),
    [
        pytest.param(ADA, PathCapture("tenant"), "editor", None, id="role in the captured tenant"),
        pytest.param(ADA, PathCapture("tenant"), "admin", Reason.ROLE_MISSING, id="project roles are not the tenant's"),
        pytest.param(ADA, HostLabel(0), "editor", None, id="host label"),
        pytest.param(ADA, HostLabel(7), "editor", Reason.TENANT_MISMATCH, id="host without that label"),
        pytest.param(ADA, ConstantTenant("globex"), "editor", Reason.ROLE_MISSING, id="another tenant's roles"),
        pytest.param(ADA, ConstantTenant("initech"), "", Reason.TENANT_MISMATCH, id="no member"),
        pytest.param(ADA, SelectedTenant(), "editor", None, id="selected"),
        pytest.param(
            replace(ADA, selected_tenant=None), SelectedTenant(), "", Reason.TENANT_MISMATCH, id="none selected"
        ),
        pytest.param(
            replace(ADA, selected_tenant="initech"),
            SelectedTenant(),
            "",
            Reason.TENANT_MISMATCH,
            id="selected, no member",
        ),
        pytest.param(NO_REFERENCE, ConstantTenant("acme"), "editor", None, id="root roles of the selected tenant"),
        pytest.param(NO_REFERENCE, ConstantTenant("globex"), "", Reason.TENANT_MISMATCH, id="root roles, other tenant"),
        pytest.param(
            replace(NO_REFERENCE, tenants={}),
            ConstantTenant("acme"),
            "",
            Reason.TENANT_MISMATCH,
            id="empty tenants claim",
        ),
    ],
)
def test_a_tenant_decides_by_its_own_entry_only(
    caller: Identity, source: TenantSource, roles: str, expected: Reason | None
) -> None:
    conditions = (RolesHeld(Wanted(all=(roles,))),) if roles else ()

    decision = judged(caller, *conditions, source=source, tenant="acme")

    assert (None if isinstance(decision, Admit) else decision) == expected


def test_permissions_count_in_the_decided_tenant_only() -> None:
    wanted = PermissionsHeld(Wanted(all=("docs.read",)))

    assert isinstance(judged(ADA, wanted, source=ConstantTenant("acme")), Admit)
    assert judged(ADA, wanted, source=ConstantTenant("globex")) is Reason.PERMISSION_MISSING


def test_key_ids_bind_keys_and_leave_people_alone() -> None:
    listed, other = KeyIdIn(frozenset({"K2worker"})), KeyIdIn(frozenset({"K2other"}))

    assert isinstance(judged(WORKER, listed, auth=Auth.ANY), Admit)
    assert judged(WORKER, other, auth=Auth.ANY) is Reason.KEY_NOT_ALLOWED
    assert isinstance(judged(ADA, other, auth=Auth.ANY), Admit)


def test_the_admitted_carry_the_tenant_decided_by_else_the_selected_one() -> None:
    decided = judged(ADA, source=ConstantTenant("globex"))
    selected = judged(ADA)

    assert isinstance(decided, Admit)
    assert isinstance(selected, Admit)
    assert (decided.tenant, selected.tenant) == ("globex", "acme")


def test_the_clients_address_is_asked_before_the_identity() -> None:
    outside = ClientWithin((ip_network("192.168.0.0/16"),))

    assert judged(Reason.NO_CREDENTIALS, outside) is Reason.CLIENT_NOT_ALLOWED


def test_the_kind_is_asked_before_roles_and_the_tenant_before_both() -> None:
    missing = RolesHeld(Wanted(any=("owner",)))

    assert judged(WORKER, missing) is Reason.WRONG_CREDENTIAL_KIND
    assert judged(ADA, missing, source=ConstantTenant("initech")) is Reason.TENANT_MISMATCH


def test_a_unix_socket_peer_lies_in_no_network() -> None:
    facts = replace(FACTS, client="", peer="")
    route = Route("r", "/x", UPSTREAM, conditions=(ClientWithin((ip_network("0.0.0.0/0"),)),))

    decision = decide(facts, Match(route, {}), ADA)

    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.CLIENT_NOT_ALLOWED


def test_findings_say_every_question_in_words_even_after_the_first_no() -> None:
    conditions: tuple[Any, ...] = (
        RolesHeld(Wanted(any=("owner",))),
        PermissionsHeld(Wanted(all=("docs.read",))),
        ClaimHeld("plan", any=("pro",)),
        KeyIdIn(frozenset({"K2a"})),
        ClientWithin((ip_network("10.0.0.0/8"),)),
    )
    route = Route("r", "/x", UPSTREAM, conditions=conditions, tenant_from=ConstantTenant("acme"))

    asked = [(finding.question, finding.missed) for finding in findings(FACTS, Match(route, {}), ADA)]

    assert asked == [
        ("client address 10.1.2.3 in 10.0.0.0/8", None),
        ("auth session, caller came with session", None),
        ("member of tenant acme", None),
        ("roles any of owner", Reason.ROLE_MISSING),
        ("permissions all of docs.read", None),
        ("claim plan any of pro", None),
        ("key id one of K2a", None),
    ]


def test_a_public_route_hands_no_identity_on_even_where_there_is_one() -> None:
    decision = judged(ADA, auth=Auth.PUBLIC)

    assert isinstance(decision, Admit)
    assert decision.identity is None


def test_an_optional_route_of_a_tenant_refuses_nobody_in_particular() -> None:
    source = ConstantTenant("acme")

    assert judged(Reason.NO_CREDENTIALS, auth=Auth.OPTIONAL, source=source) is Reason.NO_CREDENTIALS


def test_a_role_is_no_permission_and_a_permission_no_role() -> None:
    assert judged(ADA, PermissionsHeld(Wanted(any=("admin",)))) is Reason.PERMISSION_MISSING
    assert judged(ADA, RolesHeld(Wanted(any=("site.manage",)))) is Reason.ROLE_MISSING
