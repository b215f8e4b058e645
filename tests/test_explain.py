"""The account of a request: the same answers as the gate gives, with every step told."""

import pytest

from gateway.core.imagined import imagined
from gateway.core.model import Identity, Reason
from gateway.explain import Account, Asked, explain, failures
from gateway.routefile import Config, parse

TOP = """
version: 1
descope: {project_id: P2demo0000000000000000000000}
server: {public_urls: ["https://app.example.com"]}
upstreams:
  legacy: {url: "http://127.0.0.1:9000"}
  old: {url: "http://127.0.0.1:9001/base"}
routes:
  - {id: open, match: {path: "/static/**", methods: [GET]}, auth: public, upstream: legacy}
  - {id: rest, match: {path: "/**"}, upstream: legacy}
  - id: admin
    match: {path: "/admin/**"}
    require: {roles: {any: [admin]}, permissions: {all: [site.manage]}, clients: [10.0.0.0/8]}
    upstream: legacy
  - id: docs
    match: {path: "/t/{tenant}/docs/**"}
    auth: any
    require: {tenant: "{path.tenant}", permissions: {all: [docs.read]}}
    upstream: legacy
  - {id: only-get, match: {path: "/one", methods: [GET]}, upstream: legacy}
  - id: jobs
    match: {path: "/jobs/**"}
    auth: access_key
    rewrite: {strip_prefix: /jobs}
    upstream: old
"""


def file(tests: str = "") -> Config:
    return parse(TOP + tests, "routes.yaml", {})


def told(
    url: str,
    caller: dict[str, object] | None = None,
    *,
    method: str = "GET",
    client: str = "127.0.0.1",
) -> Account:
    config = file()
    who: Identity | Reason = Reason.NO_CREDENTIALS
    if caller is not None:
        made = imagined(caller)
        assert isinstance(made, Identity), made
        who = made
    return explain(config.table, config.server, Asked(method, url, who, client))


@pytest.mark.parametrize(
    ("url", "caller", "outcome"),
    [
        pytest.param("/static/site.css", None, "200", id="public"),
        pytest.param("/", None, "401 no_credentials", id="nobody signed in"),
        pytest.param("/", {}, "200", id="somebody signed in"),
        pytest.param("/", {"kind": "access_key"}, "403 wrong_credential_kind", id="a key where a session is wanted"),
        pytest.param("/admin/x", {"roles": ["admin"]}, "403 client_not_allowed", id="the wrong network"),
        pytest.param("/t/acme/docs/", {"permissions": ["docs.read"]}, "403 tenant_mismatch", id="no member"),
        pytest.param(
            "/t/acme/docs/",
            {"permissions": ["docs.read"], "tenants": {"acme": {}}},
            "403 permission_missing",
            id="project permissions are no tenant's",
        ),
        pytest.param(
            "/t/acme/docs/",
            {"tenants": {"acme": {"permissions": ["docs.read"]}}},
            "200",
            id="a tenant's own permission",
        ),
        pytest.param("/jobs/nightly", {"kind": "access_key"}, "200", id="a key on a route for keys"),
        pytest.param("/admin/..%2fx", None, "400 bad_target", id="an ambiguous path"),
        pytest.param("//admin", None, "400 bad_target", id="an empty segment"),
    ],
)
def test_the_outcome_is_the_gates(url: str, caller: dict[str, object] | None, outcome: str) -> None:
    assert told(url, caller).outcome == outcome


def test_a_path_alone_is_asked_of_the_first_public_url() -> None:
    facts = told("/welcome?a=%2F#part").facts

    assert facts is not None
    assert (facts.scheme, facts.authority, facts.target.text) == ("https", "app.example.com", "/welcome?a=%2F")


def test_a_url_brings_its_own_host_and_only_what_a_browser_would_send() -> None:
    facts = told("http://someone:secret@other.example.com:8080?x#part").facts

    assert facts is not None
    assert (facts.host, facts.authority, facts.target.text) == ("other.example.com", "other.example.com:8080", "/?x")


def test_what_is_no_url_is_said() -> None:
    with pytest.raises(ValueError, match=r"neither a path such as /admin/ nor a URL"):
        told("app.example.com/admin")


def test_every_condition_is_told_and_the_first_missed_decides() -> None:
    account = told("/admin/x", {}, client="10.1.2.3")

    assert [(f.question, f.missed) for f in account.findings] == [
        ("client address 10.1.2.3 in 10.0.0.0/8", None),
        ("auth session, caller came with session", None),
        ("roles any of admin", Reason.ROLE_MISSING),
        ("permissions all of site.manage", Reason.PERMISSION_MISSING),
    ]
    assert account.outcome == "403 role_missing"
    assert account.why == "missed a condition of route admin: roles any of admin"


def test_every_route_in_question_is_told_with_its_reason() -> None:
    candidates = told("/admin/x").candidates

    assert [(one.route.id, one.is_chosen) for one in candidates[:2]] == [("admin", True), ("rest", False)]
    assert "at segment 1 route 'admin' has 'admin'" in candidates[1].why


def test_a_pattern_that_matches_without_the_method_is_told() -> None:
    account = told("/one", {}, method="POST")

    assert account.outcome == "405 method_not_allowed"
    assert account.why == "the pattern that matches takes GET, HEAD only"
    assert not any(one.is_chosen for one in account.candidates)
    assert "takes GET" in account.candidates[0].why


def test_the_rewritten_path_is_told_with_the_upstreams_own() -> None:
    assert told("/jobs/nightly?full", {"kind": "access_key"}).sent_path == "/base/nightly?full"


def test_the_gateways_own_pages_are_no_routes() -> None:
    account = told("/.auth/me")

    assert account.decision is None
    assert account.is_admitted
    assert not account.candidates


def test_a_method_that_no_gateway_passes_is_refused_at_once() -> None:
    account = told("/", {}, method="TRACE")

    assert account.outcome == "405 method_not_allowed"
    assert account.why == "no gateway passes this method on"


def test_tests_in_the_file_that_hold_are_no_failures() -> None:
    config = file("""
tests:
  - {request: "GET /admin/x", as: anonymous, expect: "403 client_not_allowed"}
  - {request: "GET /", as: {roles: [user]}, expect: "200"}
  - {request: "GET /static/x", as: anonymous, expect: "200"}
""")

    assert failures(config) == ()


def test_a_test_that_does_not_hold_is_told_with_its_line_and_what_happened() -> None:
    config = file("""
tests:
  - {request: "GET /", as: anonymous, expect: "200"}
  - {request: "GET /jobs/x", as: {roles: [user]}, expect: "403 role_missing"}
""")

    first, second = failures(config)

    line = TOP.count("\n") + 3
    assert first.what.startswith(f"routes.yaml:{line}:")
    assert first.what.endswith("GET /: expected 200, got 401 no_credentials")
    assert "condition of route rest" in first.why
    assert second.what.startswith(f"routes.yaml:{line + 1}:")
    assert second.what.endswith("GET /jobs/x: expected 403 role_missing, got 403 wrong_credential_kind")


def test_an_address_of_the_gateways_own_is_nothing_that_a_file_can_test() -> None:
    config = file("""
tests:
  - {request: "GET /.auth/me", expect: "200"}
""")

    assert [failure.what.partition(": ")[2] for failure in failures(config)] == [
        "GET /.auth/me: expected 200, got an answer of the gateway's own"
    ]
