"""Callers described by hand, for the command line and the route file's own tests."""

import pytest

from gateway.core.imagined import imagined
from gateway.core.model import Grants, Identity, Kind


def made(description: dict[str, object]) -> Identity:
    identity = imagined(description)
    assert isinstance(identity, Identity), identity
    return identity


def test_an_empty_description_is_somebody_signed_in_who_holds_nothing() -> None:
    identity = made({})

    assert (identity.kind, identity.subject) == (Kind.SESSION, "U2imagined")
    assert (identity.project, identity.tenants, identity.selected_tenant) == (Grants(), None, None)


def test_what_is_described_is_what_the_identity_holds() -> None:
    identity = made(
        {
            "subject": "U2ada",
            "roles": ["admin", "user"],
            "permissions": ["docs.read"],
            "tenants": {"acme": {"roles": ["editor"]}, "globex": None},
            "tenant": "acme",
            "claims": {"plan": "pro"},
        }
    )

    assert identity.subject == "U2ada"
    assert identity.project == Grants(("admin", "user"), ("docs.read",))
    assert identity.tenants == {"acme": Grants(("editor",)), "globex": Grants()}
    assert identity.selected_tenant == "acme"
    assert identity.claims["plan"] == "pro"
    assert identity.claims["roles"] == ["admin", "user"]
    assert identity.claims["dct"] == "acme"


@pytest.mark.parametrize(
    ("description", "kind", "subject"),
    [
        pytest.param({"kind": "access_key"}, Kind.ACCESS_KEY, "K2imagined", id="by kind"),
        pytest.param({"key_id": "K2worker"}, Kind.ACCESS_KEY, "K2worker", id="by key_id"),
        pytest.param({"subject": "K2worker"}, Kind.ACCESS_KEY, "K2worker", id="by a subject that is a key's"),
        pytest.param({"subject": "K2a", "key_id": "K2a"}, Kind.ACCESS_KEY, "K2a", id="by both, agreeing"),
        pytest.param(
            {"kind": "access_key", "subject": "U2bob"}, Kind.ACCESS_KEY, "U2bob", id="a key bound to a person"
        ),
        pytest.param({"kind": "session", "subject": "U2bob"}, Kind.SESSION, "U2bob", id="a session"),
    ],
)
def test_the_kind_follows_from_kind_and_subject(description: dict[str, object], kind: Kind, subject: str) -> None:
    identity = made(description)

    assert (identity.kind, identity.subject) == (kind, subject)


def test_no_tenants_claim_is_not_the_same_as_none_listed() -> None:
    assert made({}).tenants is None
    assert made({"tenants": {}}).tenants == {}


@pytest.mark.parametrize(
    ("description", "named"),
    [
        pytest.param({"role": ["admin"]}, "'role'", id="an unknown key"),
        pytest.param({"roles": "admin"}, "roles", id="roles that are one text"),
        pytest.param({"permissions": [1]}, "permissions", id="a permission that is a number"),
        pytest.param({"subject": ""}, "subject", id="an empty subject"),
        pytest.param({"subject": 7}, "subject", id="a subject that is a number"),
        pytest.param({"subject": "U2a", "key_id": "K2b"}, "key_id", id="two subjects"),
        pytest.param({"kind": "robot"}, "kind", id="an unknown kind"),
        pytest.param({"kind": "session", "key_id": "K2a"}, "kind", id="a session with a key's id"),
        pytest.param({"tenants": ["acme"]}, "tenants", id="tenants that are a list"),
        pytest.param({"tenants": {"acme": ["editor"]}}, "tenants", id="a tenant that is a list"),
        pytest.param({"tenants": {"acme": {"rolls": []}}}, "'rolls'", id="an unknown key in a tenant"),
        pytest.param({"tenants": {"acme": {"roles": [None]}}}, "acme", id="a tenant's role that is nothing"),
        pytest.param({"tenant": ["acme"]}, "tenant", id="a selected tenant that is a list"),
        pytest.param({"claims": ["plan"]}, "claims", id="claims that are a list"),
        pytest.param({"claims": {"roles": ["admin"]}}, "roles", id="roles among the claims"),
    ],
)
def test_a_wrong_description_is_answered_with_what_is_wrong(description: dict[str, object], named: str) -> None:
    problem = imagined(description)

    assert isinstance(problem, str)
    assert named in problem
