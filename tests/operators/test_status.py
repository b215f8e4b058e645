"""The status page: what it tells, whom it answers, and where it may be listened on."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from click.testing import CliRunner

from gateway.cli import cli
from gateway.core.errors import ConfigError
from gateway.settings import Listen, read_settings
from tests.conftest import LOOPBACK, House, OpenHouse, Reply

LIMITS = "limits: {few: {rate: 2/h, per: client}}"
ROUTES = """
routes:
  - {id: public, match: {path: "/public/**"}, auth: public, upstream: legacy}
  - {id: few, match: {path: "/few"}, auth: public, limit: [few], upstream: legacy}
  - {id: admin, match: {path: "/admin/**"}, require: {roles: {any: [admin]}}, upstream: legacy}
  - {id: rest, match: {path: "/**"}, upstream: legacy}
"""


@asynccontextmanager
async def shown(built: OpenHouse) -> AsyncIterator[tuple[House, str]]:
    """A house, and where its status page is."""
    async with built(routes=ROUTES, top=LIMITS, status=True) as house:
        address = house.gateway.status_address
        assert address is not None
        yield house, f"http://{address}"


async def asked(house: House, url: str, method: str = "GET", **headers: str) -> Reply:
    async with house.http.request(method, url, headers=headers) as reply:
        return Reply(reply.status, reply.headers, await reply.read())


async def test_the_page_tells_of_routes_limits_upstreams_and_refusals(built: OpenHouse) -> None:
    async with shown(built) as (house, url):
        for _ in range(3):
            await house.get("/few")
        refused = await house.get("/admin/x?code=in-the-query", cookies=house.cookies("bob@example.com"))
        text = (await asked(house, f"{url}/")).text

    rows = dict(re.findall(r'<th scope="row">(\w+)</th>((?:<td>[^<]*</td>)+)', text))
    assert rows["public"] == "<td>0</td><td>0</td><td>0</td>"
    assert rows["admin"] == "<td>0</td><td>1</td><td>0</td>"
    assert re.search(r'<th scope="row">few</th><td>2</td><td>1</td><td>0</td>', text)
    assert re.search(r'<th scope="row">few</th><td>[^<]*for each client</td><td>1</td>', text)
    assert refused.headers["X-Request-Id"] in text
    for words in ("role_missing", "/admin/x", "rate_limited", "legacy", f"{LOOPBACK}:{house.upstream.port}", "ready"):
        assert words in text
    assert "No operation is at rest." in text
    assert re.search(r"<dt>Signing keys</dt><dd>confirmed 0:00:\d\d ago</dd>", text)
    assert "in-the-query" not in text


async def test_an_operation_at_rest_is_shown_with_its_end(built: OpenHouse) -> None:
    async with shown(built) as (house, url):
        house.emulator.fault("refresh", status=429, headers={"Retry-After": "60"})
        await house.get("/app", cookies={"DSR": house.cookies("bob@example.com")["DSR"]})
        text = (await asked(house, f"{url}/")).text

    assert re.search(r"<code>refresh</code> rests \(busy\) for (60|59) s more, until \d\d:\d\d:\d\d UTC", text)


async def test_what_clients_send_is_text_on_the_page(built: OpenHouse) -> None:
    async with shown(built) as (house, url):
        await house.get("/admin/%3Cscript%3Ea&b'c")
        text = (await asked(house, f"{url}/")).text

    assert "<script" not in text
    assert "<code>no_credentials</code>" in text
    assert "a&amp;b&#39;c" in text


async def test_t25_the_page_runs_no_script_stands_in_no_frame_and_is_kept_by_nobody(built: OpenHouse) -> None:
    async with shown(built) as (house, url):
        for path in ("/", "/style.css", "/nowhere"):
            headers = (await asked(house, f"{url}{path}")).headers
            policy = headers["Content-Security-Policy"]

            assert policy.startswith("default-src 'none'; style-src 'self';"), path
            assert "script" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9091", 200),
        ("localhost:80", 200),
        ("LOCALHOST", 200),
        ("[::1]:9091", 200),
        ("attacker.example:9091", 403),
        ("localhost.attacker.example", 403),
        ("127.0.0.1.attacker.example", 403),
        ("192.0.2.7", 403),
        ("", 403),
    ],
)
async def test_only_who_asks_by_a_loopback_name_is_answered(built: OpenHouse, host: str, status: int) -> None:
    async with shown(built) as (house, url):
        told = await asked(house, f"{url}/", Host=host)

    assert told.status == status
    assert ("Routes" in told.text) == (status == 200)


async def test_the_page_comes_anew_unless_it_is_held(built: OpenHouse) -> None:
    async with shown(built) as (house, url):
        going, held = await asked(house, f"{url}/"), await asked(house, f"{url}/still")

    assert (going.headers.get("Refresh"), held.headers.get("Refresh")) == ("5", None)
    assert ('href="/still"' in going.text, 'href="/"' in held.text) == (True, True)


async def test_nothing_but_reading_is_answered(built: OpenHouse) -> None:
    async with shown(built) as (house, url):
        posted = await asked(house, f"{url}/", "POST")
        headed = await asked(house, f"{url}/", "HEAD")

        assert (posted.status, posted.headers["Allow"]) == (405, "GET, HEAD")
        assert (headed.status, headed.body) == (200, b"")
        assert [(await asked(house, f"{url}/{path}")).status for path in ("metrics", "?a=b")] == [404, 404]


async def test_without_the_option_there_is_no_page(house: House) -> None:
    assert house.gateway.status_address is None


@pytest.mark.parametrize("text", ["0.0.0.0:9091", "[::]:9091", "192.0.2.7:9091", "example.com:9091"])
def test_only_a_loopback_address_is_taken(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--status: .* is no loopback address"):
        read_settings({}, {"status": text})
    told = CliRunner().invoke(cli, ["serve", "--config", "routes.yaml", "--status", text])
    assert (told.exit_code, "no loopback address" in told.output) == (2, True)


@pytest.mark.parametrize("text", ["127.0.0.1:9091", "[::1]:9091", "localhost:9091", "127.0.0.2:9091"])
def test_a_loopback_address_is_taken_from_the_environment_too(text: str) -> None:
    host = text.rpartition(":")[0].strip("[]")

    assert read_settings({"GATEWAY_STATUS": text}, {}).status == Listen(host, 9091)


def test_the_page_has_a_port_of_its_own() -> None:
    with pytest.raises(ConfigError, match="a port of its own"):
        read_settings({}, {"status": "127.0.0.1:9090"})
