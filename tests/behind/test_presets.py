"""Services that know other products' headers find them, and only ours: no spelling of a client's reaches them (T-04).

The services are real: Django with its own middleware, a plain WSGI application, PHP with its development server. Each
folds `-`, `_` and case, as CGI does, and is first seen to be fooled where nothing stands before it.
"""

import asyncio
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.behind.wsgi import headers_seen, served
from tests.conftest import LOOPBACK, House, OpenHouse, cookie_header

HERE = Path(__file__).parent
REMOTE_USER = ["Remote-User", "remote-user", "REMOTE_USER", "Remote_User", "remote.user", "Remote.User", "rEMOTE_uSER"]
ROUTES = """
routes:
  - {id: public, match: {path: "/public/**"}, auth: public, upstream: behind}
  - {id: optional, match: {path: "/optional/**"}, auth: optional, upstream: behind}
  - {id: rest, match: {path: "/**"}, upstream: behind}
  - {id: plain, match: {path: "/plain/**"}, upstream: legacy}
"""
Behind = Callable[..., AbstractAsyncContextManager[House]]


def without(reason: str) -> None:
    """Skip with a reason, or fail where every program is said to be there."""
    if os.environ.get("GATEWAY_REQUIRE_PROGRAMS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def behind(built: OpenHouse) -> Behind:
    """A house whose upstream `behind` is on `port` and told who calls by `names`."""

    def build(port: int, names: str) -> AbstractAsyncContextManager[House]:
        upstream = f'  behind: {{url: "http://{LOOPBACK}:{port}", identity_headers: {names}}}'
        made: AbstractAsyncContextManager[House] = built(routes=ROUTES, top=upstream)
        return made

    return build


async def seen(house: House, path: str, *, login: str = "", **headers: str) -> dict[str, str]:
    """What the service says it was told."""
    cookies = cookie_header(house.cookies(login)) if login else {}
    reply = await house.get(path, headers={**cookies, **headers})
    assert reply.status == 200, reply.text
    found: dict[str, str] = json.loads(reply.body)
    return found


async def directly(port: int, header: str, path: str = "/who") -> dict[str, str]:
    """The same, of a service that is asked past the gateway."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://{LOOPBACK}:{port}{path}", headers={header: "root"}) as reply,
    ):
        found: dict[str, str] = await reply.json()
        return found


# --- Django ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def django_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    from tests.behind.django_site import site

    with served(site(tmp_path_factory.mktemp("django"))) as port:
        yield port


async def test_django_knows_who_calls_by_its_own_middleware(django_port: int, behind: Behind) -> None:
    async with behind(django_port, "remote-user") as house:
        cleo = house.emulator.directory.person_by_login("cleo@example.com")
        assert cleo is not None
        signed_in = await seen(house, "/who", login="cleo@example.com")
        nobody = await seen(house, "/optional/who")

    assert signed_in["user"] == cleo.id
    assert nobody == {"user": "", "groups": ""}


@pytest.mark.parametrize("header", REMOTE_USER)
async def test_t04_no_spelling_of_remote_user_makes_somebody_of_a_client_in_django(
    django_port: int, behind: Behind, header: str
) -> None:
    async with behind(django_port, "remote-user") as house:
        cleo = house.emulator.directory.person_by_login("cleo@example.com")
        assert cleo is not None
        for path in ("/optional/who", "/public/who"):
            assert (await seen(house, path, **{header: "root"}))["user"] == ""
        assert (await seen(house, "/who", login="cleo@example.com", **{header: "root"}))["user"] == cleo.id
    if "." not in header:
        assert (await directly(django_port, header))["user"] == "root"  # which is what the gateway is there to prevent


# --- a plain WSGI application, and PHP -------------------------------------------------------------------------------


@asynccontextmanager
async def wsgi() -> AsyncIterator[int]:
    with served(headers_seen) as port:
        yield port


@asynccontextmanager
async def php() -> AsyncIterator[int]:
    """PHP's development server; yields its port."""
    program = shutil.which("php")
    if program is None:
        without("php is not installed")
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    running = await asyncio.create_subprocess_exec(
        *(str(program), "-n", "-S", f"{LOOPBACK}:{port}", str(HERE / "headers.php")),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(10):
            while not await _answers(port):
                await asyncio.sleep(0.02)
        yield port
    finally:
        running.terminate()
        await running.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True


SERVICES = [pytest.param(wsgi, id="wsgi"), pytest.param(php, id="php")]
Serving = Callable[[], AbstractAsyncContextManager[int]]
PRESETS = {
    "remote-user": ("Remote-User", "Remote-Email", "Remote-Name", "Remote-Groups"),
    "oauth2-proxy": (
        "X-Forwarded-User",
        "X-Forwarded-Email",
        "X-Forwarded-Preferred-Username",
        "X-Forwarded-Groups",
    ),
}


@pytest.mark.parametrize("serving", SERVICES)
async def test_services_are_told_under_the_names_of_a_preset(serving: Serving, behind: Behind) -> None:
    async with serving() as port, behind(port, "remote-user") as house:
        ada = house.emulator.directory.person_by_login("ada@example.com")
        assert ada is not None
        remote_user = await seen(house, "/who", login="ada@example.com")
    async with serving() as port, behind(port, "oauth2-proxy") as house:
        ada = house.emulator.directory.person_by_login("ada@example.com")
        assert ada is not None
        ada.claims["preferred_username"] = "ada"
        oauth2_proxy = await seen(house, "/who", login="ada@example.com")

    # PHP keeps the order of headers, not of names; both are mappings here.
    assert _about_people(remote_user) == {
        "HTTP_REMOTE_USER": ada.id,
        "HTTP_REMOTE_EMAIL": "ada@example.com",
        "HTTP_REMOTE_NAME": "Ada",
        "HTTP_REMOTE_GROUPS": "admin,user",
        "HTTP_X_AUTH_METHOD": "session",
        "HTTP_X_AUTH_PERMISSIONS": remote_user["HTTP_X_AUTH_PERMISSIONS"],
    }
    assert _about_people(oauth2_proxy) == {
        "HTTP_X_FORWARDED_USER": ada.id,
        "HTTP_X_FORWARDED_EMAIL": "ada@example.com",
        "HTTP_X_FORWARDED_PREFERRED_USERNAME": "ada",
        "HTTP_X_FORWARDED_GROUPS": "admin,user",
        "HTTP_X_AUTH_NAME": "Ada",
        "HTTP_X_AUTH_METHOD": "session",
        "HTTP_X_AUTH_PERMISSIONS": oauth2_proxy["HTTP_X_AUTH_PERMISSIONS"],
    }


def _about_people(found: dict[str, str]) -> dict[str, str]:
    who = ("HTTP_REMOTE_", "HTTP_X_AUTH_")
    whose = ("USER", "EMAIL", "GROUPS", "PREFERRED_USERNAME")
    return {
        name: value
        for name, value in found.items()
        if name.startswith(who) or name.removeprefix("HTTP_X_FORWARDED_") in whose
    }


@pytest.mark.parametrize("serving", SERVICES)
@pytest.mark.parametrize("preset", PRESETS)
async def test_t04_no_spelling_of_a_presets_names_comes_through(serving: Serving, preset: str, behind: Behind) -> None:
    names = PRESETS[preset]
    odd = {spelling: "root" for name in names for spelling in _spellings(name)}
    async with serving() as port, behind(port, preset) as house:
        ada = house.emulator.directory.person_by_login("ada@example.com")
        assert ada is not None
        told = [
            await seen(house, path, login=login, **odd)
            for path, login in (("/public/x", ""), ("/optional/x", ""), ("/public/x", "ada@example.com"))
        ]
        signed_in = await seen(house, "/x", login="ada@example.com", **odd)
        upgrade = await seen(
            house, "/public/x", **odd, **{"Connection": "Upgrade", "Upgrade": "h2c", "HTTP2-Settings": "AA"}
        )
        fooled = {spelling for spelling in odd if (await directly(port, spelling)).get(_as_cgi(spelling)) == "root"}

    assert [(name, value) for found in (*told, upgrade) for name, value in found.items() if "root" in value] == []
    assert not any("root" in value for value in signed_in.values())
    assert ada.id in signed_in.values()
    # Each of them would have been believed; only PHP takes a dot for one of those signs.
    assert fooled == {spelling for spelling in odd if serving is php or "." not in spelling}


def _as_cgi(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_").replace(".", "_")


def _spellings(name: str) -> tuple[str, ...]:
    return name, name.lower(), name.upper(), name.replace("-", "_"), name.replace("-", "."), name.replace("-", "_", 1)


async def test_names_of_a_preset_pass_to_upstreams_that_do_not_use_it(built: OpenHouse) -> None:
    async with built(
        routes=ROUTES, top='  behind: {url: "http://127.0.0.1:9", identity_headers: remote-user}'
    ) as house:
        await house.get(
            "/plain/x", headers={"Remote-User": "theirs", **cookie_header(house.cookies("ada@example.com"))}
        )

        assert house.upstream.last.value("Remote-User") == "theirs"
        assert house.upstream.last.value("X-Auth-Email") == "ada@example.com"


async def test_t06_a_presets_headers_survive_what_connection_names(behind: Behind) -> None:
    async with wsgi() as port, behind(port, "remote-user") as house:
        found = await seen(house, "/x", login="ada@example.com", Connection="close, Remote-User, Remote-Groups")

    assert found["HTTP_REMOTE_USER"].startswith("U2")
    assert found["HTTP_REMOTE_GROUPS"] == "admin,user"


async def test_a_map_tells_each_noun_under_its_name_and_the_rest_as_ever(behind: Behind) -> None:
    names = "{subject: X-User-Id, roles: X-User-Roles, tenant: X-Org, email: Remote_Mail}"
    async with wsgi() as port, behind(port, names) as house:
        ada = house.emulator.directory.person_by_login("ada@example.com")
        assert ada is not None
        found = await seen(house, "/x", login="ada@example.com", **{"X_Org": "root", "Remote-Mail": "root"})

    assert (found["HTTP_X_USER_ID"], found["HTTP_X_USER_ROLES"]) == (ada.id, "admin,user")
    assert found["HTTP_REMOTE_MAIL"] == "ada@example.com"
    assert (found["HTTP_X_AUTH_NAME"], found["HTTP_X_AUTH_METHOD"]) == ("Ada", "session")
    assert not {"HTTP_X_AUTH_SUBJECT", "HTTP_X_AUTH_ROLES", "HTTP_X_AUTH_EMAIL", "HTTP_X_ORG"} & found.keys()


async def test_a_presets_name_can_tell_something_else_and_its_others_stay_out_of_reach(behind: Behind) -> None:
    async with wsgi() as port, behind(port, "{preset: remote-user, email: Remote-User}") as house:
        ada = house.emulator.directory.person_by_login("ada@example.com")
        assert ada is not None
        found = await seen(house, "/x", login="ada@example.com", **{"Remote-Email": "root", "Remote_Email": "root"})

    assert (found["HTTP_REMOTE_USER"], found["HTTP_X_AUTH_SUBJECT"]) == ("ada@example.com", ada.id)
    assert "HTTP_REMOTE_EMAIL" not in found


# --- the session token, for a service that uses the SDK ---------------------------------------------------------------


def flask_site(base_url: str, project_id: str) -> Any:
    """A service that checks sessions itself, with the SDK: its Flask decorator for cookies, its client for bearers."""
    from descope import DescopeClient
    from descope.flask import descope_validate_auth
    from flask import Flask, Response, g, jsonify, request

    client = DescopeClient(project_id=project_id, base_url=base_url)
    site = Flask("behind")

    @site.get("/by-cookie")
    @descope_validate_auth(client, roles=["admin"])  # type: ignore[untyped-decorator]  # the SDK's has no types
    def by_cookie() -> Response:
        return jsonify(subject=g.claims["sub"], refresh="DSR" in request.cookies)

    @site.get("/by-bearer")
    def by_bearer() -> Response:
        claims = client.validate_session(request.headers["Authorization"].removeprefix("Bearer "))
        return jsonify(subject=claims["sub"], cookies=list(request.cookies))

    return site


@pytest.mark.parametrize(
    ("how", "path", "said"),
    [("cookie", "/by-cookie", {"refresh": False}), ("bearer", "/by-bearer", {"cookies": []})],
    ids=["cookie", "bearer"],
)
async def test_a_service_with_the_sdk_verifies_the_token_that_is_forwarded(
    built: OpenHouse, how: str, path: str, said: dict[str, Any]
) -> None:
    applications: list[Any] = []

    def later(environ: Any, start_response: Any) -> Any:
        return applications[0](environ, start_response)

    with served(later) as port:
        upstream = f'  behind: {{url: "http://{LOOPBACK}:{port}", forward_token: {how}}}'
        async with built(routes=ROUTES, top=upstream) as house:
            # Made in a thread: the SDK asks for keys, and who answers is this loop.
            applications.append(
                await asyncio.to_thread(flask_site, house.gateway.config.base_url, house.emulator.project_id)
            )
            ada = house.emulator.directory.person_by_login("ada@example.com")
            assert ada is not None
            admitted = await house.get(path, headers=cookie_header(house.cookies("ada@example.com")))
            past = await _past(port, path)

    assert (admitted.status, json.loads(admitted.body)) == (200, {"subject": ada.id, **said})
    assert past in (401, 500)  # without a token the service itself lets nobody in


async def _past(port: int, path: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"http://{LOOPBACK}:{port}{path}") as reply:
        return reply.status
