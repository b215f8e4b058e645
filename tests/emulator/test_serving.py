"""The listener, and what every answer has."""

import asyncio
import logging
from typing import Any

import httpx
import pytest

from gateway.emulator import DEVELOPMENT_NOTICE, Emulator, NotLoopbackError, serve

ERROR_MEMBERS = {"errorCode", "errorDescription", "errorMessage"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/", 200, id="root-page"),
        pytest.param("HEAD", "/", 200, id="head-of-it"),
        pytest.param("GET", "/v2/keys/P2demo0000000000000000000000", 200, id="keys"),
        pytest.param("GET", "/v2/keys/P2other000000000000000000000", 404, id="another-projects-keys"),
        pytest.param("GET", "/nothing%0Ahere", 404, id="no-such-path"),
        pytest.param("PUT", "/v1/auth/refresh", 405, id="wrong-method"),
        pytest.param("POST", "/v1/auth/refresh", 401, id="no-token"),
        pytest.param("GET", "/v1/mgmt/user", 401, id="no-management-key"),
        pytest.param("GET", "/_emulator/requests", 200, id="controls"),
    ],
)
async def test_every_answer_says_that_it_is_an_emulators(api: Any, method: str, path: str, status: int) -> None:
    answer = await api.http.request(method, path)

    assert answer.status_code == status
    assert answer.headers["X-Descope-Emulator"] == "development-only"
    if status >= 400:
        assert set(answer.json()) == ERROR_MEMBERS


async def test_the_root_page_says_what_this_is_and_how_to_control_it(api: Any) -> None:
    page = await api.http.get("/")

    assert page.headers["Content-Type"].startswith("text/html")
    for word in ("development", "lost", "/_emulator/faults", "/_emulator/clock", "/_emulator/keys/rotate"):
        assert word in page.text
    assert "development" in DEVELOPMENT_NOTICE


async def test_leading_slashes_count_as_one(api: Any, emulator: Emulator, base_url: str) -> None:
    answer = await api.http.get(f"{base_url}//v2/keys/{emulator.project_id}")

    assert len(answer.json()["keys"]) == 1


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.0.2.7", "emulator.example.com", ""],
    ids=["any-ipv4", "any-ipv6", "an-address", "a-name", "nothing"],
)
async def test_it_listens_for_other_machines_only_when_told_twice(emulator: Emulator, host: str) -> None:
    with pytest.raises(NotLoopbackError, match="--allow-remote"):
        async with serve(emulator, host, 0):
            pass


async def test_told_twice_it_listens_everywhere(emulator: Emulator) -> None:
    async with serve(emulator, "0.0.0.0", 0, allow_remote=True) as url, httpx.AsyncClient(verify=False) as http:
        assert (await http.get(url)).status_code == 200


async def test_localhost_is_loopback(emulator: Emulator) -> None:
    async with serve(emulator, "localhost", 0) as url:
        assert url.startswith("http://127.0.0.1:")


async def test_a_taken_port_is_an_error_that_names_it(emulator: Emulator, base_url: str) -> None:
    port = int(base_url.rpartition(":")[2])

    with pytest.raises(OSError, match=str(port)):
        async with serve(emulator, "127.0.0.1", port):
            pass


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        pytest.param(None, 401, id="none"),
        pytest.param("Bearer", 401, id="nothing-in-it"),
        pytest.param("Basic P2demo0000000000000000000000", 401, id="another-scheme"),
        pytest.param("Bearer P2other000000000000000000000", 401, id="another-project"),
        pytest.param("bearer P2demo0000000000000000000000:amk", 200, id="with-an-auth-management-key"),
    ],
)
async def test_the_bearer_names_the_project(api: Any, authorization: str | None, status: int) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}

    answer = await api.http.get("/v1/auth/password/policy", headers=headers)

    assert answer.status_code == status


@pytest.mark.parametrize(
    "key", ["", "wrong", "demo-management-key-not-a-secreT"], ids=["none", "wrong", "nearly-right"]
)
async def test_management_needs_the_management_key(api: Any, emulator: Emulator, key: str) -> None:
    answer = await api.post("/v1/mgmt/user/delete", {"loginId": "ada@example.com"}, secret=key)

    assert (answer.status_code, set(answer.json())) == (401, ERROR_MEMBERS)
    assert emulator.directory.person_by_login("ada@example.com") is not None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="cut"),
        pytest.param(b"[]", id="a-list"),
        pytest.param(b"\xff\xfe", id="no-text"),
        pytest.param(b"[" * 100_000, id="very-deep"),
        pytest.param(b'{"loginId": 5, "password": "x"}', id="a-number-for-a-name"),
        pytest.param(b'{"loginId": "ada@example.com"}', id="no-password"),
        pytest.param(b'{"loginId": null, "password": "x"}', id="null-for-a-name"),
        pytest.param(b'{"loginId": {}, "password": "x"}', id="an-object-for-a-name"),
        pytest.param(b'{"loginId": "a", "password": "ok", "loginOptions": []}', id="a-list-for-options"),
    ],
)
async def test_a_bad_body_is_answered_in_descopes_shape(
    api: Any, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await api.http.post("/v1/auth/password/signin", content=body, headers=api.bearer(""))

    assert answer.status_code in {400, 401}
    assert set(answer.json()) == ERROR_MEMBERS
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_lone_surrogate_is_a_wrong_password(api: Any) -> None:
    body = rb'{"loginId": "\ud800", "password": "\udfff"}'

    answer = await api.http.post("/v1/auth/password/signin", content=body, headers=api.bearer(""))

    assert answer.status_code == 401


async def test_a_body_beyond_a_megabyte_is_too_large(api: Any) -> None:
    answer = await api.http.post("/v1/auth/refresh", content=b" " * 2_000_000, headers=api.bearer(""))

    assert (answer.status_code, set(answer.json())) == (413, ERROR_MEMBERS)


async def test_a_malformed_request_leaves_no_credential_in_the_log(
    base_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(base_url.rpartition(":")[2]))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer P2SECRET\x00\r\n\r\n")

    answer = await reader.read()

    writer.close()
    await writer.wait_closed()
    assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert "P2SECRET" not in caplog.text
    assert caplog.text


async def test_unknown_and_null_fields_do_not_matter(api: Any) -> None:
    body = {
        "loginId": "ada@example.com",
        "password": "ada-demo-password",
        "loginOptions": None,
        "providerId": "x",
        "user": None,
    }

    assert (await api.post("/v1/auth/password/signin", body)).status_code == 200


async def test_a_page_of_another_origin_may_sign_in_with_credentials(api: Any) -> None:
    origin = "http://localhost:3000"
    wanted = "authorization,x-descope-project-id,x-descope-sdk-name"
    preflight = await api.http.options(
        "/v1/auth/refresh",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": wanted,
        },
    )
    answer = await api.http.post("/v1/auth/refresh", headers={"Origin": origin})

    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Headers"] == wanted
    for one in (preflight, answer):
        assert one.headers["Access-Control-Allow-Origin"] == origin
        assert one.headers["Access-Control-Allow-Credentials"] == "true"
        assert "Origin" in one.headers["Vary"]
    assert "X-Descope-Flow-Nonce" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("path", ["/_emulator/settings", "/v1/mgmt/user/create"], ids=["controls", "management"])
@pytest.mark.parametrize("origin", ["https://evil.example.com", "null"], ids=["another", "null"])
async def test_a_page_of_another_origin_neither_controls_nor_manages(api: Any, path: str, origin: str) -> None:
    headers = api.bearer(api.management_key) | {"Origin": origin}

    answer = await api.http.post(path, json={}, headers=headers)

    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_the_emulators_own_pages_may_control_it(api: Any, base_url: str) -> None:
    assert (await api.http.delete("/_emulator/faults", headers={"Origin": base_url})).status_code == 200
