"""The forward-auth door: another proxy asks, the gate answers, and the upstream hears nothing of it."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from gateway.core.errors import ConfigError
from gateway.routefile import parse
from tests.conftest import (
    ROUTES,
    WORKER_KEY,
    House,
    OpenHouse,
    Reply,
    cookie_header,
    open_house,
    reason_of,
    set_cookies,
)

TRUSTING = '  trusted_proxies: ["127.0.0.1/32"]'
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Accept": "text/html"}
LIMITED = ROUTES + '  - {id: few, match: {path: "/few"}, auth: public, limit: [two], upstream: legacy}\n'
LIMITS = "limits: {two: {rate: 2/h, per: client}}\n"


def doors(dialect: str, renew: bool = False) -> str:
    return f"doors: {{forward_auth: {{dialect: {dialect}, renew: {str(renew).lower()}}}}}\n"


@pytest.fixture
async def caddy(signing_keys: Any) -> AsyncIterator[House]:
    """A house that a proxy asks in a dialect that passes every answer on."""
    async with open_house(signing_keys, LIMITED, LIMITS + doors("caddy"), TRUSTING) as house:
        yield house
        assert house.upstream.seen == []  # whatever is asked, the service is not


@pytest.fixture
async def nginx(signing_keys: Any) -> AsyncIterator[House]:
    async with open_house(signing_keys, LIMITED, LIMITS + doors("nginx"), TRUSTING) as house:
        yield house
        assert house.upstream.seen == []


async def ask(house: House, method: str, uri: str, *, headers: dict[str, str] | None = None, **more: Any) -> Reply:
    """Ask as Caddy does; for nginx see `ask_nginx`."""
    said = {
        "X-Forwarded-Method": method,
        "X-Forwarded-Uri": uri,
        "X-Forwarded-Host": "app.example.com",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-For": "203.0.113.9",
    }
    return await house.get("/.auth/verify", headers=said | (headers or {}), **more)


async def ask_nginx(house: House, method: str, uri: str, *, headers: dict[str, str] | None = None) -> Reply:
    said = {
        "X-Original-Method": method,
        "X-Original-URI": uri,
        "X-Original-Host": "app.example.com",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-For": "203.0.113.9",
    }
    return await house.get("/.auth/verify", headers=said | (headers or {}))


async def test_without_the_door_nobody_is_answered(house: House) -> None:
    reply = await ask(house, "GET", "/public/x")

    assert (reply.status, reason_of(reply)) == (404, "not_found")


async def test_an_admitted_request_is_200_with_the_identity(caddy: House) -> None:
    reply = await ask(caddy, "GET", "/admin/x", headers=cookie_header(caddy.cookies("ada@example.com")))

    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["X-Auth-Email"] == "ada@example.com"
    assert "admin" in reply.headers["X-Auth-Roles"]
    assert reply.headers["X-Auth-Method"] == "session"
    assert reply.headers["X-Request-Id"]


async def test_what_is_ours_among_the_credentials_is_not_handed_on(caddy: House) -> None:
    cookies = caddy.cookies("ada@example.com") | {"theme": "dark"}

    others = {"Authorization": "Basic QWRhOng=", "X-Other": "the proxy has it"}
    reply = await ask(caddy, "GET", "/x", headers=cookie_header(cookies) | others)

    assert "X-Other" not in reply.headers
    assert reply.headers["Cookie"] == "theme=dark"
    assert reply.headers["Authorization"] == "Basic QWRhOng="
    nothing = await ask(caddy, "GET", "/x", headers=cookie_header(caddy.cookies("ada@example.com")))
    assert "Cookie" not in nothing.headers


async def test_an_access_key_is_exchanged_and_not_handed_on(caddy: House) -> None:
    reply = await ask(caddy, "POST", "/jobs/x", headers={"X-API-Key": WORKER_KEY})

    assert (reply.status, reply.headers["X-Auth-Method"]) == (200, "access_key")
    assert "X-API-Key" not in reply.headers
    assert WORKER_KEY not in str(reply.headers)


async def test_t04_identity_comes_from_nobody_but_the_gateway(caddy: House) -> None:
    claimed = {"X-Auth-Roles": "admin", "X-Auth-Subject": "U1", "X_Auth_Email": "x@example.com"}

    reply = await ask(caddy, "GET", "/public/x", headers=claimed)

    assert reply.status == 200
    assert [name for name in reply.headers if "auth" in name.lower()] == []


@pytest.mark.parametrize(
    ("method", "uri", "who", "status", "reason"),
    [
        ("GET", "/x", None, 401, "no_credentials"),
        ("GET", "/admin/x", "bob@example.com", 403, "role_missing"),
        ("POST", "/only-get", None, 405, "method_not_allowed"),
        ("GET", "/admin/../public/x", "ada@example.com", 400, "bad_target"),
        ("GET", "/.auth/me", "ada@example.com", 404, "not_found"),
    ],
    ids=["nobody", "another role", "another method", "two meanings", "our own pages"],
)
async def test_a_refusal_is_the_judges(
    caddy: House, method: str, uri: str, who: str | None, status: int, reason: str
) -> None:
    reply = await ask(caddy, method, uri, headers=cookie_header(caddy.cookies(who)) if who else {})

    assert (reply.status, reason_of(reply)) == (status, reason)


async def test_t21_a_question_that_lacks_something_is_400(caddy: House) -> None:
    reply = await caddy.get("/.auth/verify", headers=cookie_header(caddy.cookies("ada@example.com")))

    assert (reply.status, reason_of(reply)) == (400, "bad_request")


async def test_t05_a_stranger_gets_no_answer(built: OpenHouse) -> None:
    async with built(top=doors("caddy"), server='  trusted_proxies: ["10.0.0.0/8"]') as house:
        reply = await ask(house, "GET", "/public/x")

    assert (reply.status, reason_of(reply)) == (403, "client_not_allowed")


async def test_t23_an_unsafe_request_from_another_site_is_refused(caddy: House) -> None:
    headers = cookie_header(caddy.cookies("ada@example.com")) | {"Origin": "http://evil.example"}

    reply = await ask(caddy, "POST", "/x", headers=headers)

    assert (reply.status, reason_of(reply)) == (403, "cross_site")


async def test_t24_a_socket_from_another_site_is_refused(caddy: House) -> None:
    cookies = cookie_header(caddy.cookies("ada@example.com"))
    key = {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}

    foreign = await ask(caddy, "GET", "/x", headers=cookies | key | {"Origin": "http://evil.example"})
    own = await ask(caddy, "GET", "/x", headers=cookies | key | {"Origin": "http://app.example.com"})

    assert (foreign.status, reason_of(foreign)) == (403, "cross_site")
    assert own.status == 200


async def test_limits_are_spent_by_the_original_client(caddy: House) -> None:
    for _ in range(2):
        assert (await ask(caddy, "GET", "/few")).status == 200
    over = await ask(caddy, "GET", "/few")
    other = await ask(caddy, "GET", "/few", headers={"X-Forwarded-For": "203.0.113.10"})

    assert (over.status, reason_of(over)) == (429, "rate_limited")
    assert int(over.headers["Retry-After"]) > 0
    assert other.status == 200


async def test_a_navigation_goes_to_sign_in_with_the_way_back(caddy: House) -> None:
    reply = await ask(caddy, "GET", "/x?a=1", headers=NAVIGATION)

    assert reply.status == 302
    assert reply.headers["Location"] == "/.auth/login?rd=/x%3Fa%3D1"


# --- renewal --------------------------------------------------------------------------------------------------------


async def test_asking_renews_nothing(caddy: House) -> None:
    cookies = cookie_header(caddy.cookies("ada@example.com"))
    caddy.put_forward(3600)

    reply = await ask(caddy, "GET", "/x", headers=cookies)

    assert (reply.status, reason_of(reply)) == (401, "token_expired")
    assert set_cookies(reply) == {}


async def test_a_navigation_with_a_session_that_has_run_out_goes_to_be_renewed_and_back(caddy: House) -> None:
    cookies = cookie_header(caddy.cookies("ada@example.com"))
    caddy.put_forward(3600)

    sent = await ask(caddy, "GET", "/x?a=1", headers=cookies | NAVIGATION)
    renewed = await caddy.get(sent.headers["Location"], headers=cookies | NAVIGATION)
    again = await ask(caddy, "GET", "/x?a=1", headers=cookie_header(set_cookies(renewed)) | NAVIGATION)

    assert (sent.status, sent.headers["Location"]) == (302, "/.auth/renew?rd=/x%3Fa%3D1")
    assert set_cookies(sent) == {}
    assert (renewed.status, renewed.headers["Location"]) == (303, "/x?a=1")
    assert {"DS", "DSR"} <= set_cookies(renewed).keys()
    assert again.status == 200


async def test_only_a_browser_that_goes_there_is_renewed(caddy: House) -> None:
    cookies = cookie_header(caddy.cookies("ada@example.com"))
    caddy.put_forward(3600)

    reply = await caddy.get("/.auth/renew?rd=/x", headers=cookies | {"Sec-Fetch-Mode": "no-cors"})

    assert (reply.status, reason_of(reply)) == (403, "cross_site")


async def test_t23_a_browser_sent_by_another_site_passes_over_a_page_of_ours(caddy: House) -> None:
    cookies = cookie_header(caddy.cookies("ada@example.com"))
    caddy.put_forward(3600)

    reply = await caddy.get("/.auth/renew?rd=/x", headers=cookies | NAVIGATION | {"Sec-Fetch-Site": "cross-site"})

    assert (reply.status, set_cookies(reply)) == (200, {})
    assert 'http-equiv="refresh" content="0; url=/.auth/renew?rd=/x"' in reply.text


async def test_who_has_nothing_to_renew_is_sent_to_sign_in(caddy: House) -> None:
    reply = await caddy.get("/.auth/renew?rd=/x", headers=NAVIGATION)

    assert (reply.status, reply.headers["Location"]) == (303, "/.auth/login?rd=/x")


async def test_a_forged_refresh_token_ends_at_sign_in(caddy: House) -> None:
    cookies = caddy.cookies("ada@example.com")
    caddy.put_forward(3600)
    broken = cookie_header({"DSR": cookies["DSR"][:-4] + "AAAA"})

    sent = await ask(caddy, "GET", "/x", headers=broken | NAVIGATION)
    gone = await caddy.get("/.auth/renew?rd=/x", headers=broken | NAVIGATION)

    assert sent.headers["Location"] == "/.auth/login?rd=/x"
    assert gone.headers["Location"] == "/.auth/login?rd=/x"


@pytest.mark.parametrize(
    "rd",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "/%5cevil.example",
        "/%09//evil.example",
        "javascript:x",
        "",
        "/.auth/renew?rd=/x",
        "/.auth/renew",
    ],
)
async def test_t09_the_way_back_is_a_page_here_and_no_circle(caddy: House, rd: str) -> None:
    cookies = cookie_header(caddy.cookies("ada@example.com"))

    reply = await caddy.get(f"/.auth/renew?rd={quote(rd)}", headers=cookies | NAVIGATION)

    assert (reply.status, reply.headers["Location"]) == (303, "/")


async def test_a_browser_that_keeps_no_cookies_does_not_go_round_in_circles(caddy: House) -> None:
    cookies = cookie_header(caddy.cookies("ada@example.com"))
    caddy.put_forward(3600)

    statuses: list[int] = []
    while len(statuses) < 20 and 429 not in statuses:
        statuses.append((await caddy.get("/.auth/renew?rd=/x", headers=cookies | NAVIGATION)).status)

    assert statuses == [303] * 8 + [429]


async def test_where_the_proxy_can_carry_cookies_asking_may_renew(built: OpenHouse) -> None:
    async with built(top=doors("haproxy", renew=True), server=TRUSTING) as house:
        cookies = cookie_header(house.cookies("bob@example.com"))
        house.put_forward(3600)

        admitted = await ask(house, "GET", "/x", headers=cookies)
        refused = await ask(house, "GET", "/admin/x", headers=cookies)

    assert (admitted.status, refused.status) == (200, 403)
    assert {"DS", "DSR"} <= set_cookies(admitted).keys()
    assert {"DS", "DSR"} <= set_cookies(refused).keys()


# --- what nginx can take --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "uri", "headers", "status", "told", "reason"),
    [
        ("GET", "/x", {}, 401, "401", "no_credentials"),
        ("GET", "/x", NAVIGATION, 401, "302", "no_credentials"),
        ("POST", "/only-get", {}, 403, "405", "method_not_allowed"),
        ("GET", "/a/../public/x", {}, 403, "400", "bad_target"),
    ],
    ids=["a program", "a navigation", "another method", "two meanings"],
)
async def test_nginx_is_told_the_true_status_beside_one_that_it_takes(
    nginx: House, method: str, uri: str, headers: dict[str, str], status: int, told: str, reason: str
) -> None:
    reply = await ask_nginx(nginx, method, uri, headers=headers)

    assert (reply.status, reply.headers["X-Gateway-Status"]) == (status, told)
    assert reply.headers["X-Gateway-Reason"] == reason
    assert ("Location" in reply.headers) is (told == "302")


async def test_a_limit_reaches_nginx_with_its_wait(nginx: House) -> None:
    replies = [await ask_nginx(nginx, "GET", "/few") for _ in range(3)]

    assert [reply.status for reply in replies] == [200, 200, 403]
    assert (replies[2].headers["X-Gateway-Status"], replies[2].headers["X-Gateway-Reason"]) == ("429", "rate_limited")
    assert int(replies[2].headers["Retry-After"]) > 0


async def test_a_service_is_told_under_the_names_it_knows_and_by_its_assertion(built: OpenHouse) -> None:
    kind = "    identity_headers: remote-user\n    assertion: true\n"
    async with built(top=kind + doors("haproxy"), server=TRUSTING) as house:
        cookies = cookie_header(house.cookies("ada@example.com"))
        known = await ask(house, "GET", "/x", headers=cookies)
        nobody = await ask(house, "GET", "/public/x", headers={"Remote-User": "root", "Remote_Groups": "admin"})

        assert known.headers["Remote-User"]
        assert "X-Auth-Subject" not in known.headers
        assert known.headers["X-Auth-Assertion"].count(".") == 2
        assert "Remote-User" not in nobody.headers
        assert "X-Auth-Assertion" not in nobody.headers
        assert {"remote-user", "remote_groups"} <= set(nobody.headers["X-Gateway-Remove"].split(", "))


# --- what another proxy is to take off ------------------------------------------------------------------------------


async def test_t04_a_proxy_that_can_be_told_takes_off_what_only_we_may_say(built: OpenHouse) -> None:
    async with built(top=doors("haproxy"), server=TRUSTING) as house:
        headers = {"X_Auth_Roles": "admin", "X.Auth.Name": "x", "X-HTTP-Method-Override": "PUT", "X_Api_Key": "k"}
        cookies = cookie_header(house.cookies("ada@example.com"))
        reply = await ask(house, "GET", "/x", headers=headers | cookies | {"X-Other": "kept"})

    removed = set(reply.headers["X-Gateway-Remove"].split(", "))
    assert {"x_auth_roles", "x.auth.name", "x-http-method-override", "x_api_key", "cookie"} <= removed
    assert "x-other" not in removed


async def test_t04_what_a_route_sets_is_taken_off_where_it_has_nothing_to_say(built: OpenHouse) -> None:
    routes = """
routes:
  - id: all
    match: {path: "/**"}
    auth: optional
    headers: {set: {X-Job-Caller: "{identity.subject}"}}
    upstream: legacy
"""
    async with built(routes=routes, top=doors("haproxy"), server=TRUSTING) as house:
        reply = await ask(house, "GET", "/x", headers={"X-Job-Caller": "U1", "X_Job_Caller": "U1"})

    assert reply.status == 200
    assert "X-Job-Caller" not in reply.headers
    assert {"x-job-caller", "x_job_caller"} <= set(reply.headers["X-Gateway-Remove"].split(", "))


# --- the route file -------------------------------------------------------------------------------------------------


def problems(top: str, server: str = "") -> str:
    text = f"""
version: 1
descope: {{project_id: P2demo0000000000000000000000}}
server: {{public_urls: ["https://app.example.com"]{server}}}
upstreams: {{legacy: {{url: "http://127.0.0.1:9000"}}}}
routes: [{{id: rest, match: {{path: "/**"}}, upstream: legacy}}]
{top}
"""
    with pytest.raises(ConfigError) as told:
        parse(text, "routes.yaml", {})
    return "\n".join(told.value.problems)


def test_headers_that_another_proxy_has_to_mind_are_told() -> None:
    text = """
version: 1
descope: {project_id: P2demo0000000000000000000000}
server: {public_urls: ["https://app.example.com"], trusted_proxies: [10.0.0.7/32]}
doors: {forward_auth: {dialect: nginx}}
upstreams: {legacy: {url: "http://127.0.0.1:9", identity_headers: remote-user}}
routes: [{id: all, match: {path: "/**"}, upstream: legacy}]
"""
    [warning] = parse(text, "routes.yaml", {}).warnings

    assert "upstreams.legacy.identity_headers: the proxy that asks has to set Remote-User" in warning
    assert parse(text.replace(", identity_headers: remote-user", ""), "routes.yaml", {}).warnings == ()


def test_a_door_that_nobody_may_use_is_a_mistake() -> None:
    assert "name the proxy's address in server.trusted_proxies" in problems(doors("nginx"))


@pytest.mark.parametrize("dialect", ["nginx", "caddy"])
def test_renewing_where_the_cookies_would_be_lost_is_a_mistake(dialect: str) -> None:
    assert f"{dialect} cannot hand renewed cookies on" in problems(
        doors(dialect, renew=True), ', trusted_proxies: ["10.0.0.1/32"]'
    )
