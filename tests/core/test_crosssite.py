"""Which requests another site may not make a browser send (T-23), and what CORS answers."""

import pytest

from gateway.core.crosssite import cors_lines, is_cross_site, is_preflight
from gateway.core.model import Cors, RequestFacts, Target

PUBLIC = ("https://app.example.com", "http://localhost:8080")
PARTNER = Cors(("https://partner.example",), methods=("GET", "PUT"), headers=("X-Own",), credentials=True, max_age_s=60)


def facts(method: str = "POST", **headers: str) -> RequestFacts:
    named = {name.replace("_", "-").encode(): (value.encode(),) for name, value in headers.items()}
    lines = tuple((name, name, values[0]) for name, values in named.items())
    return RequestFacts(
        method, Target("/x", ("x",)), "app.example.com", "app.example.com", "https", "", "", lines, named
    )


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        pytest.param({"sec_fetch_site": "same-origin"}, False, id="same origin"),
        pytest.param({"sec_fetch_site": "none"}, False, id="typed in by a person"),
        pytest.param({"sec_fetch_site": "same-site"}, True, id="same site"),
        pytest.param({"sec_fetch_site": "cross-site"}, True, id="cross site"),
        pytest.param({"sec_fetch_site": "new-word"}, True, id="a word nobody knows"),
        pytest.param({"sec_fetch_site": "cross-site", "origin": "https://app.example.com"}, True, id="metadata wins"),
        pytest.param({"origin": "https://app.example.com"}, False, id="own origin"),
        pytest.param({"origin": "HTTPS://APP.example.com"}, False, id="own origin in capitals"),
        pytest.param({"origin": "http://app.example.com"}, True, id="own host, other scheme"),
        pytest.param({"origin": "https://app.example.com.evil.example"}, True, id="own host as a prefix"),
        pytest.param({"origin": "https://evil.example"}, True, id="foreign origin"),
        pytest.param({"origin": "null"}, True, id="null origin"),
        pytest.param({"origin": ""}, True, id="empty origin"),
        pytest.param({}, False, id="neither header"),
    ],
)
def test_t23_only_our_own_pages_may_send_cookies_along(headers: dict[str, str], foreign: bool) -> None:
    assert is_cross_site(facts(**headers), None, PUBLIC, is_upgrade=False) is foreign


def test_t24_an_upgrade_with_neither_header_does_not_pass() -> None:
    assert is_cross_site(facts("GET"), None, PUBLIC, is_upgrade=True)


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_an_origin_that_cors_names_passes_wherever_it_stands(site: str) -> None:
    named = facts(sec_fetch_site=site, origin="https://partner.example")
    other = facts(sec_fetch_site=site, origin="https://other.example")

    assert not is_cross_site(named, PARTNER, PUBLIC, is_upgrade=False)
    assert is_cross_site(other, PARTNER, PUBLIC, is_upgrade=False)


def test_a_wildcard_origin_lets_nobodys_cookies_through() -> None:
    foreign = facts(sec_fetch_site="cross-site", origin="https://evil.example")

    assert is_cross_site(foreign, Cors(("*",)), PUBLIC, is_upgrade=False)


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        pytest.param("OPTIONS", {"origin": "https://a", "access_control_request_method": "PUT"}, True, id="true one"),
        pytest.param("OPTIONS", {"origin": "https://a"}, False, id="no method announced"),
        pytest.param("OPTIONS", {"access_control_request_method": "PUT"}, False, id="no origin"),
        pytest.param("GET", {"origin": "https://a", "access_control_request_method": "PUT"}, False, id="not OPTIONS"),
    ],
)
def test_only_a_true_preflight_is_one(method: str, headers: dict[str, str], expected: bool) -> None:
    assert is_preflight(facts(method, **headers)) is expected


def test_a_preflight_of_a_named_origin_hears_what_it_may_do() -> None:
    lines = dict(cors_lines(facts("OPTIONS", origin="https://partner.example"), PARTNER, preflight=True))

    assert lines == {
        b"Vary": b"Origin",
        b"Access-Control-Allow-Origin": b"https://partner.example",
        b"Access-Control-Allow-Credentials": b"true",
        b"Access-Control-Allow-Methods": b"GET, PUT",
        b"Access-Control-Allow-Headers": b"X-Own",
        b"Access-Control-Max-Age": b"60",
    }


def test_an_origin_that_is_not_named_hears_nothing_but_that_it_matters() -> None:
    assert cors_lines(facts(origin="https://evil.example"), PARTNER) == ((b"Vary", b"Origin"),)
    assert cors_lines(facts(), None) == ()


def test_a_wildcard_names_itself_and_never_credentials() -> None:
    lines = dict(cors_lines(facts(origin="https://anyone.example"), Cors(("*",))))

    assert lines[b"Access-Control-Allow-Origin"] == b"*"
    assert b"Access-Control-Allow-Credentials" not in lines
