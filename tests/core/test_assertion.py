"""What an assertion says: of this request, to this upstream, about this caller, and nothing that is not known."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.assertion import LIFE_S, Claims
from gateway.core.model import Admit, ConstantTenant, Grants, Identity, Kind, Match, Person, Route, Upstream

LEGACY = Upstream("legacy", "legacy.internal:9000", "legacy.internal", 9000, assertion="legacy")
ROUTE = Route("r", "/**", LEGACY)
ADA = Identity(
    kind=Kind.SESSION,
    subject="U2ada",
    issued_at_s=0,
    not_before_s=0,
    expires_at_s=1,
    project=Grants(("admin", "a,b"), ("docs.read",)),
    tenants={"acme": Grants(("editor",), ("docs.write",))},
    selected_tenant="acme",
    claims={"email": "ada@example.com", "name": "Zoë \u2028 100%", "plan": "pro", "preferred_username": "ada"},
    digest=b"ada",
)
NOW_S = 1_700_000_000


def said(admit: Admit, request_id: str = "id1", claims: Claims | None = None) -> dict[str, Any]:
    assert admit.identity is not None
    text = (claims or Claims("https://app.example.com")).text(admit.identity, admit, request_id, NOW_S)
    found: dict[str, Any] = json.loads(text.decode("ascii"))
    return found


def test_an_assertion_says_who_asks_for_what_of_whom() -> None:
    assert said(Admit(Match(ROUTE, {}), ADA, "acme")) == {
        "iss": "https://app.example.com",
        "aud": "legacy",
        "sub": "U2ada",
        "email": "ada@example.com",
        "name": "Zoë \u2028 100%",
        "roles": ["admin", "a,b"],
        "permissions": ["docs.read"],
        "tenant": "acme",
        "method": "session",
        "request_id": "id1",
        "iat": NOW_S,
        "exp": NOW_S + LIFE_S,
    }
    assert LIFE_S == 60


def test_roles_of_an_assertion_are_those_of_the_tenant_decided_by() -> None:
    route = replace(ROUTE, tenant_from=ConstantTenant("acme"))

    found = said(Admit(Match(route, {}), ADA, "acme"))

    assert (found["roles"], found["permissions"]) == (["editor"], ["docs.write"])


def test_a_key_is_named_in_its_assertion() -> None:
    worker = replace(ADA, kind=Kind.ACCESS_KEY, subject="K2worker")

    found = said(Admit(Match(ROUTE, {}), worker))

    assert (found["method"], found["sub"], found["key_id"]) == ("access_key", "K2worker", "K2worker")


def test_lists_are_always_there_and_what_is_unknown_is_absent() -> None:
    bare = replace(ADA, claims={"email": ["ada@example.com"]}, project=Grants(), selected_tenant=None)

    found = said(Admit(Match(ROUTE, {}), bare))

    assert found.keys() == {"iss", "aud", "sub", "roles", "permissions", "method", "request_id", "iat", "exp"}
    assert (found["roles"], found["permissions"]) == ([], [])


def test_t13_what_is_remembered_of_one_is_said_of_nobody_else() -> None:
    claims = Claims("https://app.example.com")
    by_tenant = replace(ROUTE, tenant_from=ConstantTenant("acme"))
    other = replace(ROUTE, upstream=replace(LEGACY, name="other", assertion="other"))
    nameless = replace(ADA, claims={})
    admits = [
        Admit(Match(ROUTE, {}), ADA, "acme"),
        Admit(Match(by_tenant, {}), ADA, "acme"),
        Admit(Match(other, {}), ADA, "acme"),
        Admit(Match(ROUTE, {}), ADA, "globex"),
        Admit(Match(ROUTE, {}), replace(ADA, subject="U2bob", digest=b"bob"), "acme"),
        Admit(Match(ROUTE, {}), replace(ADA, kind=Kind.ACCESS_KEY), "acme"),
        Admit(Match(ROUTE, {}), replace(nameless, digest=b"nameless"), "acme", Person("asked@example.com", "")),
        Admit(Match(ROUTE, {}), replace(nameless, digest=b"nameless"), "acme", Person("later@example.com", "")),
    ]

    for turn in range(2):
        for admit in admits:
            assert said(admit, f"id{turn}", claims) == said(admit, f"id{turn}")


def test_t18_no_more_callers_are_remembered_than_there_are_places() -> None:
    claims = Claims("https://app.example.com", most=3)

    for number in range(10):
        subject = f"U2{number}"
        one = replace(ADA, subject=subject, digest=subject.encode())
        assert said(Admit(Match(ROUTE, {}), one), "id1", claims)["sub"] == subject
        assert len(claims._standing) <= 3


@given(st.text(), st.text())
def test_t08_no_claim_breaks_out_of_its_place(name: str, request_id: str) -> None:
    odd = replace(ADA, claims={"name": name}, subject=name, digest=name.encode("utf-8", "surrogatepass"))

    found = said(Admit(Match(ROUTE, {}), odd), request_id)

    assert (found["sub"], found["request_id"], found["aud"]) == (name, request_id, "legacy")
    assert found.get("name", "") == name


@pytest.mark.parametrize("claim", [7, True, {"a": 1}, None], ids=str)
def test_a_claim_of_another_type_is_not_asserted(claim: object) -> None:
    assert "name" not in said(Admit(Match(ROUTE, {}), replace(ADA, claims={"name": claim})))
