"""Traefik, played by its documented contract (`forwardAuth`): with the configuration under `deploy/traefik`, what it
asks, what the service then gets and what the browser. The program itself comes in no package that the tests install.

The contract, from the reference of the middleware: the question is a GET to `address` with the client's headers but for
those of one connection, and with `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For` as Traefik saw the request
(`trustForwardHeader: false`). Any 2xx admits. Then headers that match `authResponseHeadersRegex` go, and each that the
answer has is set; those of `authResponseHeaders` go or are replaced. `addAuthCookiesToResponse` names the cookies of
the answer that go to the browser. Any other answer is the client's, as it is.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml
from multidict import CIMultiDict

from tests.conftest import ROOT, ROUTES, House, Reply, cookie_header, open_house, reason_of, set_cookies

ASKING = yaml.safe_load((ROOT / "deploy" / "traefik" / "dynamic.yaml").read_text("utf-8"))["http"]
FORWARD_AUTH = ASKING["middlewares"]["ask-gateway"]["forwardAuth"]
OF_ONE_CONNECTION = ("Connection", "Keep-Alive", "Te", "Trailers", "Transfer-Encoding", "Upgrade", "Proxy-Connection")


@pytest.fixture
async def house(signing_keys: Any) -> AsyncIterator[House]:
    top = "doors: {forward_auth: {dialect: traefik, renew: true}}\n"
    async with open_house(signing_keys, ROUTES, top, '  trusted_proxies: ["127.0.0.1/32"]') as opened:
        yield opened


async def through(house: House, method: str, uri: str, headers: dict[str, str]) -> tuple[Reply, CIMultiDict[str]]:
    """The gateway's answer, and the headers with which the request goes on where that is a 2xx."""
    onward = CIMultiDict(headers)
    asked = CIMultiDict({name: value for name, value in headers.items() if name not in OF_ONE_CONNECTION})
    asked["X-Forwarded-Method"], asked["X-Forwarded-Uri"] = method, uri
    asked["X-Forwarded-Host"], asked["X-Forwarded-Proto"] = "app.example.com", "http"
    asked["X-Forwarded-For"] = "203.0.113.9"
    assert FORWARD_AUTH["trustForwardHeader"] is False
    path = "/" + FORWARD_AUTH["address"].split("/", 3)[3]
    reply = await house.get(path, headers=asked)
    pattern = re.compile(FORWARD_AUTH["authResponseHeadersRegex"])
    for name in [name for name in onward if pattern.search(name)]:
        onward.popall(name, None)
    for name in FORWARD_AUTH["authResponseHeaders"]:
        onward.popall(name, None)
    copied = {name.lower() for name in FORWARD_AUTH["authResponseHeaders"]}
    for name, value in reply.headers.items():
        if name.lower() in copied or pattern.search(name):
            onward[name] = value
    return reply, onward


async def test_what_is_admitted_goes_on_with_its_caller_and_without_the_session(house: House) -> None:
    cookies = house.cookies("ada@example.com")

    reply, onward = await through(house, "POST", "/admin/x?y=1", cookie_header(cookies | {"theme": "dark"}))

    assert reply.status == 200
    assert onward["X-Auth-Email"] == "ada@example.com"
    assert onward["Cookie"] == "theme=dark"
    assert not any(secret in str(onward) for secret in cookies.values())


async def test_t04_what_a_client_says_of_itself_does_not_go_on(house: House) -> None:
    claimed = {"X-Auth-Roles": "admin", "x_auth_roles": "admin", "X.Auth-Subject": "U1", "Accept": "*/*"}
    claimed |= {"X-HTTP-Method-Override": "DELETE", "X-Rewrite-URL": "/admin", "True-Client-IP": "198.51.100.7"}

    reply, onward = await through(house, "GET", "/public/x", claimed)

    assert reply.status == 200
    assert sorted(name.lower() for name in onward) == ["accept", "x-request-id"]


async def test_what_is_refused_is_the_gateways_answer(house: House) -> None:
    nobody, _ = await through(house, "GET", "/x", {})
    other, _ = await through(house, "GET", "/admin/x", cookie_header(house.cookies("bob@example.com")))
    navigation, _ = await through(house, "GET", "/x?a=1", {"Sec-Fetch-Mode": "navigate"})

    assert (nobody.status, reason_of(nobody)) == (401, "no_credentials")
    assert (other.status, reason_of(other)) == (403, "role_missing")
    assert (navigation.status, navigation.headers["Location"]) == (302, "/.auth/login?rd=/x%3Fa%3D1")


async def test_all_cookies_of_a_renewed_session_are_named_for_the_browser(house: House) -> None:
    cookies = house.cookies("ada@example.com")
    house.put_forward(3600)

    reply, onward = await through(house, "GET", "/x", cookie_header(cookies))

    fresh = set_cookies(reply)
    assert reply.status == 200
    assert {"DS", "DSR"} <= fresh.keys() <= set(FORWARD_AUTH["addAuthCookiesToResponse"])
    assert "Cookie" not in onward
    assert "Set-Cookie" not in onward


async def test_t24_a_socket_from_another_site_is_refused(house: House) -> None:
    headers = cookie_header(house.cookies("ada@example.com")) | {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }

    foreign, _ = await through(house, "GET", "/x", headers | {"Origin": "http://evil.example"})
    own, _ = await through(house, "GET", "/x", headers | {"Origin": "http://app.example.com"})

    assert (foreign.status, own.status) == (403, 200)


def test_nobody_outside_may_ask_and_pages_of_ours_are_not_asked_about() -> None:
    routers = ASKING["routers"]
    nearest = max(routers.values(), key=lambda router: router["priority"])

    assert nearest["middlewares"] == ["nobody"]
    assert routers["never-from-outside"]["middlewares"] == ["nobody"]
    assert routers["never-from-outside"]["priority"] > routers["gateway-pages"]["priority"]
    assert "middlewares" not in routers["gateway-pages"]
    assert routers["everything"]["middlewares"] == ["ask-gateway"]


@pytest.mark.parametrize(
    ("name", "value", "passes"),
    [
        ("Upgrade", "websocket", True),
        ("Upgrade", "h2c", False),
        ("Upgrade", "websocket, H2C", False),
        ("Connection", "keep-alive, Upgrade", True),
        ("Connection", "close, x-auth-roles", False),
        ("Connection", "Cookie", False),
    ],
)
def test_t17_no_other_protocol_leads_past_the_gateway(name: str, value: str, passes: bool) -> None:
    router = max(ASKING["routers"].values(), key=lambda router: router["priority"])
    patterns = re.findall(r"HeaderRegexp\(`([^`]+)`, `([^`]+)`\)", router["rule"])

    is_met = any(name == named and re.search(pattern, value) for named, pattern in patterns)

    assert router["middlewares"] == ["nobody"]
    assert is_met is not passes
