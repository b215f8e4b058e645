"""What Descope is asked, and what becomes of its answers: against a real server on loopback, with the SDK unchanged."""

import asyncio
import gzip
import json
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import certifi
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.core.errors import ConfigError, IdentityProviderBusy, IdentityProviderError
from gateway.core.model import ExchangeOptions, Reason, TokenRules
from gateway.idp import IdentityProvider
from gateway.idp_call import IdpRefusal, SessionPair
from gateway.idp_http import sdk_http
from gateway.idp_methods import password

PROJECT = "P2demo0000000000000000000000"
NOW_S = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT
ADA = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImFkYSJ9.eyJzdWIiOiJVYWRhIn0.YWRh"
BOB = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJvYiJ9.eyJzdWIiOiJVYm9iIn0.Ym9i"
NEW_SESSION = "eyJhbGciOiJSUzI1NiJ9.eyJkcm4iOiJEUyJ9.bmV3"
NEW_REFRESH = "eyJhbGciOiJSUzI1NiJ9.eyJkcm4iOiJEU1IifQ.bmV3"
KEY = "K2abcdefghijklmnopqrstuvwxyz0123456789"
PLAIN = ExchangeOptions()

KEYS = f"/v2/keys/{PROJECT}"
REFRESH = "/v1/auth/refresh"
EXCHANGE = "/v1/auth/accesskey/exchange"
TENANT = "/v1/auth/tenant/select"
SIGN_OUT = "/v1/auth/logout"
SIGN_OUT_EVERYWHERE = "/v1/auth/logoutall"
ME = "/v1/auth/me"
POLICY = "/v1/auth/password/policy"
SIGN_IN = "/v1/auth/password/signin"


@dataclass(frozen=True, slots=True)
class FixedClock:
    def now_s(self) -> float:
        return NOW_S

    def mono_s(self) -> float:
        return 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    status: int = 200
    body: object = None
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"

    def response(self) -> web.Response:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body or {}).encode()
        response = web.Response(status=self.status, body=body, content_type=self.content_type)
        for name, value in self.headers:
            response.headers.add(name, value)
        return response


@dataclass(frozen=True, slots=True)
class Recorded:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Descope:
    """A server that records what it is asked and answers by path as it was told; what it was not told is a 418."""

    url: str = ""
    requests: list[Recorded] = field(default_factory=list)
    scripts: dict[str, Script] = field(default_factory=dict)

    def answers(self, path: str, reply: Reply) -> None:
        async def script(request: web.Request) -> web.StreamResponse:
            return reply.response()

        self.scripts[path] = script

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Recorded(request.method, request.raw_path, headers, await request.read()))
        script = self.scripts.get(request.raw_path)
        return await script(request) if script else web.Response(status=418)


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one certificate: nothing here speaks TLS, and reading all of them takes most of a test's time."""
    end = "-----END CERTIFICATE-----\n"
    path = tmp_path_factory.mktemp("tls") / "one.pem"
    path.write_text(Path(certifi.where()).read_text(encoding="utf-8").split(end)[0] + end, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, one_authority: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(one_authority))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def descope() -> AsyncIterator[Descope]:
    served = Descope()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.serve)
    server = TestServer(app)
    await server.start_server()
    served.url = str(server.make_url("")).rstrip("/")
    yield served
    await server.close()


Outcomes = list[tuple[str, str]]


@asynccontextmanager
async def asking(
    url: str,
    *,
    deadline_s: float = 5.0,
    queue_deadline_s: float = 10.0,
    concurrency: int = 16,
    outcomes: Outcomes | None = None,
) -> AsyncIterator[IdentityProvider]:
    told: Outcomes = [] if outcomes is None else outcomes
    subject = IdentityProvider(
        TokenRules(PROJECT),
        url,
        FixedClock(),
        deadline_s=deadline_s,
        queue_deadline_s=queue_deadline_s,
        concurrency=concurrency,
        observe=lambda operation, outcome: told.append((operation, outcome)),
    )
    try:
        yield subject
    finally:
        await subject.close()


@pytest.fixture
async def idp(descope: Descope) -> AsyncIterator[IdentityProvider]:
    async with asking(descope.url) as subject:
        yield subject


Ask = Callable[[IdentityProvider], Awaitable[object]]
# Every operation with a credential: how it is asked, where, what its refusal is called.
OPERATIONS = [
    pytest.param(lambda idp: idp.refresh(ADA), REFRESH, Reason.REFRESH_REFUSED, id="refresh"),
    pytest.param(lambda idp: idp.exchange(KEY, PLAIN), EXCHANGE, Reason.ACCESS_KEY_REFUSED, id="exchange"),
    pytest.param(lambda idp: idp.select_tenant("acme", ADA), TENANT, Reason.TENANT_MISMATCH, id="select tenant"),
    pytest.param(lambda idp: idp.sign_out(ADA), SIGN_OUT, Reason.REFRESH_REFUSED, id="sign out"),
    pytest.param(
        lambda idp: idp.sign_out_everywhere(ADA), SIGN_OUT_EVERYWHERE, Reason.REFRESH_REFUSED, id="sign out everywhere"
    ),
    pytest.param(lambda idp: idp.me(ADA), ME, Reason.REFRESH_REFUSED, id="me"),
]
SIGN_INS = [pytest.param(lambda idp: idp.ask(password.sign_in("ada", "secret")), SIGN_IN, None, id="sign in")]
KEYS_TOO = [*OPERATIONS, *SIGN_INS, pytest.param(lambda idp: idp.fetch_keys(), KEYS, None, id="keys")]
ANSWER_READ = [case for case in KEYS_TOO if case.id not in ("sign out", "sign out everywhere")]


# --- what is asked, and what a good answer gives ---------------------------------------------------------------------


async def test_keys_are_returned_as_they_came(descope: Descope, idp: IdentityProvider) -> None:
    descope.answers(KEYS, Reply(body={"keys": [{"kid": "one"}]}))

    assert await idp.fetch_keys() == ({"keys": [{"kid": "one"}]}, False)
    assert descope.requests[0].headers["authorization"] == f"Bearer {PROJECT}"


async def test_an_emulator_is_known_by_its_header(descope: Descope, idp: IdentityProvider) -> None:
    descope.answers(KEYS, Reply(body={"keys": []}, headers=(("X-Descope-Emulator", "1"),)))

    assert await idp.fetch_keys() == ({"keys": []}, True)


async def test_a_renewal_gives_both_tokens_and_the_profile(descope: Descope, idp: IdentityProvider) -> None:
    user = {"email": "ada@example.com", "name": "Ada", "phone": "1"}
    descope.answers(REFRESH, Reply(body={"sessionJwt": NEW_SESSION, "refreshJwt": NEW_REFRESH, "user": user}))

    pair = await idp.refresh(ADA)

    assert pair == SessionPair(NEW_SESSION, NEW_REFRESH, {"email": "ada@example.com", "name": "Ada"})
    assert descope.requests[0].headers["authorization"] == f"Bearer {PROJECT}:{ADA}"
    assert descope.requests[0].headers["x-descope-sdk-name"] == "python"
    assert json.loads(descope.requests[0].body) == {}


async def test_the_refresh_token_sent_is_kept_where_none_returns(descope: Descope, idp: IdentityProvider) -> None:
    descope.answers(REFRESH, Reply(body={"sessionJwt": NEW_SESSION}))

    assert await idp.refresh(ADA) == SessionPair(NEW_SESSION, ADA, {})


@pytest.mark.parametrize(
    "user",
    [
        pytest.param(None, id="no user"),
        pytest.param("ada", id="a user that is a text"),
        pytest.param({"email": 7, "name": None}, id="members of other types"),
        pytest.param({"email": "a@b\r\nX-Evil: 1", "name": "\ud800"}, id="line breaks and half a character"),
    ],
)
async def test_an_unusable_profile_is_left_out(descope: Descope, idp: IdentityProvider, user: object) -> None:
    descope.answers(REFRESH, Reply(body={"sessionJwt": NEW_SESSION, "user": user}))

    assert await idp.refresh(ADA) == SessionPair(NEW_SESSION, ADA, {})


async def test_an_exchange_sends_the_routes_claims_and_tenant(descope: Descope, idp: IdentityProvider) -> None:
    descope.answers(EXCHANGE, Reply(body={"keyId": "K1", "sessionJwt": NEW_SESSION, "expiration": 1}))

    assert await idp.exchange(KEY, PLAIN) == NEW_SESSION
    assert await idp.exchange(KEY, ExchangeOptions('{"team":"a"}', "acme"), worked_before=True) == NEW_SESSION

    assert [json.loads(request.body) for request in descope.requests] == [
        {"loginOptions": {}},
        {"loginOptions": {"customClaims": {"team": "a"}, "selectedTenant": "acme"}},
    ]
    assert descope.requests[0].headers["authorization"] == f"Bearer {PROJECT}:{KEY}"


async def test_a_tenant_is_selected_with_the_refresh_token(descope: Descope, idp: IdentityProvider) -> None:
    descope.answers(TENANT, Reply(body={"sessionJwt": NEW_SESSION, "refreshJwt": NEW_REFRESH}))

    assert await idp.select_tenant("acme", ADA) == SessionPair(NEW_SESSION, NEW_REFRESH, {})
    assert json.loads(descope.requests[0].body) == {"tenant": "acme"}
    assert descope.requests[0].headers["authorization"] == f"Bearer {PROJECT}:{ADA}"


async def test_signing_out_needs_no_body_in_the_answer(descope: Descope, idp: IdentityProvider) -> None:
    descope.answers(SIGN_OUT, Reply(body=b""))
    descope.answers(SIGN_OUT_EVERYWHERE, Reply(body=b"bye", content_type="text/plain"))

    assert await idp.sign_out(ADA) is None
    assert await idp.sign_out_everywhere(ADA) is None
    assert descope.paths() == [SIGN_OUT, SIGN_OUT_EVERYWHERE]


async def test_me_gives_what_descope_says(descope: Descope, idp: IdentityProvider) -> None:
    descope.answers(ME, Reply(body={"userId": "Uada", "email": "ada@example.com"}))

    assert await idp.me(ADA) == {"userId": "Uada", "email": "ada@example.com"}
    assert descope.requests[0].method == "GET"


async def test_a_password_begins_a_session(descope: Descope, idp: IdentityProvider) -> None:
    descope.answers(SIGN_IN, Reply(body={"sessionJwt": NEW_SESSION, "refreshJwt": NEW_REFRESH}))

    assert await idp.ask(password.sign_in("ada", "pass\tword")) == SessionPair(NEW_SESSION, NEW_REFRESH, {})
    assert json.loads(descope.requests[0].body) == {"loginId": "ada", "password": "pass\tword"}
    assert descope.requests[0].headers["authorization"] == f"Bearer {PROJECT}"


async def test_a_session_shows_no_token_when_printed() -> None:
    assert repr(SessionPair(NEW_SESSION, NEW_REFRESH, {"email": "ada@example.com"})) == "SessionPair()"


# --- refusals and faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 404])
@pytest.mark.parametrize(("ask", "path", "reason"), OPERATIONS)
async def test_what_descope_refuses_is_a_reason(
    descope: Descope, idp: IdentityProvider, ask: Ask, path: str, reason: Reason, status: int
) -> None:
    descope.answers(path, Reply(status, {"errorCode": "E011001"}))

    assert await ask(idp) is reason


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 422])
async def test_what_descope_refuses_of_a_sign_in_comes_with_its_code(
    descope: Descope, idp: IdentityProvider, status: int
) -> None:
    descope.answers(SIGN_IN, Reply(status, {"errorCode": "E061102", "errorDescription": "who knows"}))

    assert await idp.ask(password.sign_in("ada", "secret")) == IdpRefusal(status, "E061102")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"errorCode": 5}', id="a number"),
        pytest.param(b'{"errorCode": "E1\\r\\nX: y"}', id="a line break"),
        pytest.param(b'{"errorCode": "' + b"E" * 3000 + b'"}', id="no code"),
        pytest.param(b'"' + b"x" * (1024 * 1024) + b'"', id="over a mebibyte"),
    ],
)
async def test_an_error_code_of_another_form_is_left_out(descope: Descope, idp: IdentityProvider, body: bytes) -> None:
    descope.answers(SIGN_IN, Reply(401, body))

    assert await idp.ask(password.sign_in("ada", "secret")) == IdpRefusal(401)


async def test_a_question_without_words_of_the_clients_is_refused_by_no_web_page(
    descope: Descope, idp: IdentityProvider
) -> None:
    descope.answers(POLICY, Reply(403, b"<h1>go away</h1>", content_type="text/html"))

    with pytest.raises(IdentityProviderError, match="status 403"):
        await idp.ask(password.policy())


@pytest.mark.parametrize(("ask", "path", "reason"), OPERATIONS)
async def test_a_401_refuses_the_credential(
    descope: Descope, idp: IdentityProvider, ask: Ask, path: str, reason: Reason
) -> None:
    descope.answers(path, Reply(401, b"", content_type="text/html"))

    assert await ask(idp) is (Reason.REFRESH_REFUSED if reason is Reason.TENANT_MISMATCH else reason)


@pytest.mark.parametrize(
    "status", [300, 302, 402, 405, 408, 409, 413, 418, 422, 431, 500, 501, 502, 503, 504, 520, 530]
)
async def test_other_statuses_are_faults_asked_for_once(descope: Descope, idp: IdentityProvider, status: int) -> None:
    descope.answers(REFRESH, Reply(status, {"sessionJwt": NEW_SESSION, "secret": ADA}))

    with pytest.raises(IdentityProviderError, match=rf"^Descope, refresh: answered with status {status}$") as caught:
        await idp.refresh(ADA)

    assert not isinstance(caught.value, IdentityProviderBusy)
    assert descope.paths() == [REFRESH]


@pytest.mark.parametrize(("ask", "path", "reason"), KEYS_TOO)
async def test_a_503_is_never_repeated(
    descope: Descope, idp: IdentityProvider, ask: Ask, path: str, reason: Reason | None
) -> None:
    descope.answers(path, Reply(503))

    async with asyncio.timeout(4):  # the SDK would wait 10.1 s
        with pytest.raises(IdentityProviderError, match="status 503"):
            await ask(idp)

    assert descope.paths() == [path]


async def test_a_503_may_name_a_pause(descope: Descope, idp: IdentityProvider) -> None:
    descope.answers(REFRESH, Reply(503, headers=(("Retry-After", "9"),)))

    with pytest.raises(IdentityProviderError) as caught:
        await idp.refresh(ADA)

    assert caught.value.retry_after_s == 9.0


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_key_fetch_is_never_refused_but_fails(descope: Descope, idp: IdentityProvider, status: int) -> None:
    descope.answers(KEYS, Reply(status))

    with pytest.raises(IdentityProviderError, match=f"keys: answered with status {status}"):
        await idp.fetch_keys()


@pytest.mark.parametrize("status", [403, 404])
async def test_a_web_page_on_the_way_refuses_nobodys_session(
    descope: Descope, idp: IdentityProvider, status: int
) -> None:
    for path in (REFRESH, SIGN_IN):
        descope.answers(path, Reply(status, b"<h1>go away</h1>", content_type="text/html"))

    with pytest.raises(IdentityProviderError, match=f"status {status}"):
        await idp.refresh(ADA)
    # A firewall may well dislike what somebody typed, which must not stop everyone else's sign-in.
    assert await idp.ask(password.sign_in("' or 1=1", "x")) == IdpRefusal(status)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        pytest.param((("Retry-After", "7"),), 7.0, id="seconds"),
        pytest.param((("Retry-After", "Sun, 06 Nov 1994 08:50:37 GMT"),), 60.0, id="a date"),
        pytest.param((("Retry-After", "99999"),), 300.0, id="far too long"),
        pytest.param((("Retry-After", "-1"),), None, id="negative"),
        pytest.param((("Retry-After", "0"),), None, id="zero"),
        pytest.param((("Retry-After", "Sun, 06 Nov 1994 08:49:00 GMT"),), None, id="a date gone by"),
        pytest.param((("Retry-After", "10.5"),), None, id="a fraction"),
        pytest.param((("Retry-After", "soon"),), None, id="nonsense"),
        pytest.param((("Retry-After", "7"), ("Retry-After", "9")), None, id="twice"),
        pytest.param((), None, id="absent"),
    ],
)
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(b'{"errorCode":"E130429"}', "application/json", id="JSON"),
        pytest.param(b"<h1>slow down</h1>", "text/html", id="HTML"),
    ],
)
async def test_a_429_is_busy_for_as_long_as_it_says(
    descope: Descope,
    idp: IdentityProvider,
    headers: tuple[tuple[str, str], ...],
    wait_s: float | None,
    body: bytes,
    content_type: str,
) -> None:
    descope.answers(REFRESH, Reply(429, body, headers, content_type))

    with pytest.raises(IdentityProviderBusy) as caught:
        await idp.refresh(ADA)

    assert caught.value.retry_after_s == wait_s


@pytest.mark.parametrize(("ask", "path", "reason"), KEYS_TOO)
async def test_a_429_is_busy_for_every_operation(
    descope: Descope, idp: IdentityProvider, ask: Ask, path: str, reason: Reason | None
) -> None:
    descope.answers(path, Reply(429, headers=(("Retry-After", "7"),)))

    with pytest.raises(IdentityProviderBusy, match="status 429"):
        await ask(idp)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>", id="HTML"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"sessionJwt": "a', id="cut off"),
        pytest.param(b"\xff\xfe{\x00}\x00", id="another encoding"),
        pytest.param(b"[" * 200_000, id="very deep"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", id="a very long number"),
        pytest.param(b'"' + b"x" * (1024 * 1024) + b'"', id="over 1 MiB"),
    ],
)
@pytest.mark.parametrize(("ask", "path", "reason"), ANSWER_READ)
async def test_an_answer_that_is_no_json_object_is_a_fault(
    descope: Descope, idp: IdentityProvider, ask: Ask, path: str, reason: Reason | None, body: bytes
) -> None:
    descope.answers(path, Reply(body=body))

    with pytest.raises(IdentityProviderError, match="the answer is"):
        await ask(idp)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(REFRESH, {}, id="no session"),
        pytest.param(REFRESH, {"sessionJwt": None}, id="a session that is null"),
        pytest.param(REFRESH, {"sessionJwt": 7}, id="a session that is a number"),
        pytest.param(REFRESH, {"sessionJwt": {"a": 1}}, id="a session that is an object"),
        pytest.param(REFRESH, {"sessionJwt": "a.b.c\r\nSet-Cookie: x=y"}, id="a session with a line break"),
        pytest.param(REFRESH, {"sessionJwt": "a" * 16_385}, id="a session too long for anything"),
        pytest.param(REFRESH, {"sessionJwt": NEW_SESSION, "refreshJwt": ["a"]}, id="a refresh token that is a list"),
        pytest.param(EXCHANGE, {"keyId": "K1"}, id="an exchange without session"),
        pytest.param(SIGN_IN, {"sessionJwt": NEW_SESSION}, id="a sign-in without refresh token"),
        pytest.param(KEYS, {}, id="no keys"),
        pytest.param(KEYS, {"keys": None}, id="keys that are null"),
        pytest.param(KEYS, {"keys": {"a": 1}}, id="keys that are an object"),
    ],
)
async def test_an_answer_without_what_it_must_have_is_a_fault(
    descope: Descope, idp: IdentityProvider, path: str, body: object
) -> None:
    asks: dict[str, Ask] = {
        REFRESH: lambda idp: idp.refresh(ADA),
        EXCHANGE: lambda idp: idp.exchange(KEY, PLAIN),
        SIGN_IN: lambda idp: idp.ask(password.sign_in("ada", "secret")),
        KEYS: lambda idp: idp.fetch_keys(),
    }
    descope.answers(path, Reply(body=body))

    with pytest.raises(IdentityProviderError, match="the answer has no"):
        await asks[path](idp)


async def test_outcomes_are_told_once_per_call_that_was_made(descope: Descope) -> None:
    outcomes: Outcomes = []
    async with asking(descope.url, outcomes=outcomes) as idp:
        descope.answers(REFRESH, Reply(body={"sessionJwt": NEW_SESSION}))
        await idp.refresh(ADA)
        descope.answers(REFRESH, Reply(401))
        await idp.refresh(ADA)
        descope.answers(REFRESH, Reply(429))
        with pytest.raises(IdentityProviderBusy):
            await idp.refresh(ADA)
        descope.answers(REFRESH, Reply(body={}))
        with pytest.raises(IdentityProviderError):
            await idp.refresh(ADA)
        await idp.refresh("")

    assert outcomes == [("refresh", "ok"), ("refresh", "refused"), ("refresh", "busy"), ("refresh", "unavailable")]


# --- what the SDK would do on its own --------------------------------------------------------------------------------


async def test_no_call_carries_cookies_of_an_earlier_one(descope: Descope, idp: IdentityProvider) -> None:
    cookies = (("Set-Cookie", f"DS={ADA}; Path=/"), ("Set-Cookie", f"DSR={ADA}; Path=/; HttpOnly"))
    descope.answers(REFRESH, Reply(body={"sessionJwt": NEW_SESSION}, headers=cookies))
    await idp.refresh(ADA)

    for path in (ME, EXCHANGE, SIGN_OUT):
        descope.answers(path, Reply(body={"sessionJwt": NEW_SESSION}))
    await idp.refresh(BOB)
    await idp.me(BOB)
    await idp.exchange(KEY, PLAIN)
    await idp.sign_out(BOB)

    assert descope.paths() == [REFRESH, REFRESH, ME, EXCHANGE, SIGN_OUT]
    assert ["cookie" in request.headers for request in descope.requests] == [False] * 5


async def test_an_sdk_of_another_build_is_named_at_start() -> None:
    with pytest.raises(ConfigError, match="descope"):
        sdk_http(SimpleNamespace(), PROJECT)
    with pytest.raises(ConfigError, match="descope"):
        sdk_http(SimpleNamespace(_auth_http=SimpleNamespace(_async_client=None), _mgmt_http=None), PROJECT)


async def test_a_storm_of_unknown_signing_keys_fetches_none(descope: Descope, idp: IdentityProvider) -> None:
    descope.answers(REFRESH, Reply(401))
    tokens = [f"eyJhbGciOiJSUzI1NiIsImtpZCI6I{number:03}fQ.eyJzdWIiOiJVIn0.c2ln" for number in range(50)]

    answers = await asyncio.gather(*(idp.refresh(token) for token in tokens))

    assert answers == [Reason.REFRESH_REFUSED] * 50
    assert descope.paths() == [REFRESH] * 50


async def test_returned_tokens_are_not_verified_here(descope: Descope, idp: IdentityProvider) -> None:
    # One of them has an audience, none is signed by a key the SDK knows.
    audience = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJhdWQiOiJlbHNld2hlcmUifQ.c2ln"
    descope.answers(REFRESH, Reply(body={"sessionJwt": audience, "refreshJwt": NEW_REFRESH}))

    assert await idp.refresh(ADA) == SessionPair(audience, NEW_REFRESH, {})
    assert descope.paths() == [REFRESH]


async def test_a_clients_bad_token_is_a_refusal_and_a_500_is_an_outage(descope: Descope, idp: IdentityProvider) -> None:
    descope.answers(REFRESH, Reply(401))
    assert await idp.refresh("garbage") is Reason.REFRESH_REFUSED

    descope.answers(REFRESH, Reply(500))
    with pytest.raises(IdentityProviderError, match="status 500"):
        await idp.refresh(ADA)


@pytest.mark.parametrize(
    ("lines", "session", "refresh"),
    [
        pytest.param([f"DS={NEW_SESSION}; Path=/"], NEW_SESSION, ADA, id="session only"),
        pytest.param([f"DS={NEW_SESSION}", f"DSR={NEW_REFRESH}; HttpOnly"], NEW_SESSION, NEW_REFRESH, id="both"),
        pytest.param(
            [f"DS={NEW_SESSION}; Domain=app.example.com", f"DSR={NEW_REFRESH}; Domain=.app.example.com; Secure"],
            NEW_SESSION,
            NEW_REFRESH,
            id="for another domain",
        ),
        pytest.param(
            [f"DS={NEW_SESSION}", f"DSR={BOB}; Path=/v1", f"DSR={NEW_REFRESH}; Path=/"],
            NEW_SESSION,
            NEW_REFRESH,
            id="two of one name and the last counts",
        ),
        pytest.param(
            [f"DS={NEW_SESSION}", f"DSR={NEW_REFRESH}", "DSR=; Path=/old", f"DSR={BOB}; Path=/older; Max-Age=0"],
            NEW_SESSION,
            NEW_REFRESH,
            id="deleted ones do not count",
        ),
        pytest.param([f'DS="{NEW_SESSION}" ; Path=/', "ds=a", "XDS=b", "DS"], NEW_SESSION, ADA, id="quoted"),
    ],
)
async def test_a_session_delivered_only_by_cookies_is_found(
    descope: Descope, idp: IdentityProvider, lines: list[str], session: str, refresh: str
) -> None:
    descope.answers(REFRESH, Reply(body={}, headers=tuple(("Set-Cookie", line) for line in lines)))

    assert await idp.refresh(ADA) == SessionPair(session, refresh, {})


async def test_the_body_counts_before_the_cookies(descope: Descope, idp: IdentityProvider) -> None:
    cookies = (("Set-Cookie", f"DS={BOB}"), ("Set-Cookie", f"DSR={BOB}"))
    descope.answers(REFRESH, Reply(body={"sessionJwt": NEW_SESSION, "refreshJwt": NEW_REFRESH}, headers=cookies))

    assert await idp.refresh(ADA) == SessionPair(NEW_SESSION, NEW_REFRESH, {})


@pytest.mark.parametrize(
    ("given", "path"), [("", ""), ("/", ""), ("//", ""), ("/base", "/base"), ("/base/", "/base")], ids=repr
)
async def test_a_base_url_needs_no_trailing_slash_and_bears_one(descope: Descope, given: str, path: str) -> None:
    descope.answers(path + KEYS, Reply(body={"keys": []}))

    async with asking(descope.url + given) as idp:
        await idp.fetch_keys()

        assert idp.base_url == descope.url + path
    assert descope.paths() == [path + KEYS]


async def test_without_a_base_url_descopes_own_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCOPE_BASE_URI", "http://elsewhere.example")

    async with asking("") as idp:
        assert idp.base_url == "https://api.descope.com"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("api.descope.com", id="no scheme"),
        pytest.param("ftp://api.descope.com", id="another scheme"),
        pytest.param("https://", id="no host"),
        pytest.param("https://ada:secret@api.descope.com", id="credentials in it"),
        pytest.param("https://api.descope.com?secret=1", id="a query"),
        pytest.param("https://api.descope.com#secret", id="a fragment"),
        pytest.param("https://api.descope.com:secret", id="no port"),
        pytest.param("https://api.descope.com/\r\nsecret", id="a line break"),
    ],
)
def test_a_base_url_that_is_none_is_named_at_start_and_not_quoted(url: str) -> None:
    with pytest.raises(ConfigError, match="base URL") as caught:
        IdentityProvider(TokenRules(PROJECT), url, FixedClock())

    assert "secret" not in str(caught.value)


def test_a_project_id_that_is_none_is_named_at_start() -> None:
    with pytest.raises(ConfigError, match="project id"):
        IdentityProvider(TokenRules("P/../x"), "http://127.0.0.1", FixedClock())


async def test_unusable_certificates_are_named_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")

    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        IdentityProvider(TokenRules(PROJECT), "http://127.0.0.1", FixedClock())


@pytest.mark.parametrize(("ask", "path", "reason"), KEYS_TOO)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_faults_and_not_followed(
    descope: Descope, idp: IdentityProvider, ask: Ask, path: str, reason: Reason | None, status: int
) -> None:
    descope.answers(path, Reply(status, headers=(("Location", "/elsewhere"),)))

    with pytest.raises(IdentityProviderError, match=f"status {status}"):
        await ask(idp)

    assert descope.paths() == [path]


async def test_keys_in_the_environment_alter_nothing(descope: Descope, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DESCOPE_MANAGEMENT_KEY", "DESCOPE_AUTH_MANAGEMENT_KEY"):
        monkeypatch.setenv(name, "Kmanagement")
    monkeypatch.setenv("DESCOPE_PUBLIC_KEY", "no key at all")
    monkeypatch.setenv("DESCOPE_PROJECT_ID", "Pother")
    monkeypatch.setenv("DESCOPE_BASE_URI", "http://127.0.0.1:1")
    descope.answers(KEYS, Reply(body={"keys": []}))
    descope.answers(REFRESH, Reply(body={"sessionJwt": NEW_SESSION}))

    async with asking(descope.url) as idp:
        await idp.fetch_keys()
        await idp.refresh(ADA)

    bearers = [request.headers["authorization"] for request in descope.requests]
    assert bearers == [f"Bearer {PROJECT}", f"Bearer {PROJECT}:{ADA}"]
    assert descope.paths() == [KEYS, REFRESH]


async def test_no_log_line_shows_what_was_asked(
    descope: Descope, idp: IdentityProvider, caplog: pytest.LogCaptureFixture
) -> None:
    descope.answers(SIGN_IN, Reply(body={"sessionJwt": NEW_SESSION, "refreshJwt": NEW_REFRESH}))
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)

    try:
        await idp.ask(password.sign_in("ada", "secret"))
    finally:
        root.setLevel(level)

    assert [record.name for record in caplog.records if record.name.split(".")[0] in ("httpx", "httpcore")] == []
    assert logging.getLogger("descope.anything").getEffectiveLevel() >= logging.WARNING


async def test_an_endless_answer_is_cut_after_a_mebibyte(descope: Descope, idp: IdentityProvider) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while True:  # ends when the connection does
            await response.write(b" " * 65_536)
            sent += 65_536

    descope.scripts[KEYS] = endless

    with pytest.raises(IdentityProviderError, match="over 1 MiB"):
        await idp.fetch_keys()

    assert 1024 * 1024 <= sent < 32 * 1024 * 1024  # the rest filled buffers on the way


async def test_an_answer_that_announces_a_gigabyte_is_not_read(descope: Descope, idp: IdentityProvider) -> None:
    gone = asyncio.Event()

    async def announce(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(10**9)})
        await response.prepare(request)
        await gone.wait()
        return response

    descope.scripts[KEYS] = announce

    try:
        with pytest.raises(IdentityProviderError, match="over 1 MiB"):
            await idp.fetch_keys()
    finally:
        gone.set()


async def test_a_compressed_answer_is_neither_asked_for_nor_unpacked(descope: Descope, idp: IdentityProvider) -> None:
    packed = gzip.compress(b'{"keys": []}' + b" " * 10_000_000)
    descope.answers(KEYS, Reply(body=packed, headers=(("Content-Encoding", "gzip"),)))

    with pytest.raises(IdentityProviderError, match="compressed"):
        await idp.fetch_keys()

    assert descope.requests[0].headers["accept-encoding"] == "identity"


UNSENDABLE = [
    pytest.param("", id="nothing"),
    pytest.param("a\r\nX-Evil: 1", id="a line break"),
    pytest.param("a\nb", id="a line feed"),
    pytest.param("a\n", id="a line feed at the end"),
    pytest.param("a\x00b", id="a NUL"),
    pytest.param("a b", id="a blank"),
    pytest.param("a\x7fb", id="a DEL"),
    pytest.param("cl\u00e9", id="a letter outside ASCII"),
    pytest.param("\ud800", id="half a character"),
    pytest.param("a:b", id="a colon, which would begin a management key"),
    pytest.param("a" * 20_000, id="far too long"),
]


@pytest.mark.parametrize("text", UNSENDABLE)
async def test_t08_what_is_no_bearer_token_is_refused_unsent(
    descope: Descope, idp: IdentityProvider, text: str
) -> None:
    assert await idp.exchange(text, PLAIN) is Reason.ACCESS_KEY_REFUSED
    assert await idp.refresh(text) is Reason.REFRESH_REFUSED
    assert await idp.me(text) is Reason.REFRESH_REFUSED
    assert await idp.sign_out(text) is Reason.REFRESH_REFUSED
    assert await idp.sign_out_everywhere(text) is Reason.REFRESH_REFUSED
    assert await idp.select_tenant("acme", text) is Reason.REFRESH_REFUSED
    assert descope.requests == []


async def test_an_access_key_that_servers_might_find_too_long_is_refused_unsent(
    descope: Descope, idp: IdentityProvider
) -> None:
    assert await idp.exchange("K" * 4097, PLAIN) is Reason.ACCESS_KEY_REFUSED
    assert descope.requests == []


@pytest.mark.parametrize("text", ["", "a\r\nb", "a\x00", "\x85", "\ud800", "a" * 1025], ids=ascii)
async def test_t08_a_tenant_of_unprintable_text_is_refused_unsent(
    descope: Descope, idp: IdentityProvider, text: str
) -> None:
    assert await idp.select_tenant(text, ADA) is Reason.TENANT_MISMATCH
    assert descope.requests == []


# --- what breaks below HTTP ------------------------------------------------------------------------------------------


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[str]:
    """A socket that answers every request with these bytes and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"hello", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", id="a body cut short"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", id="a length that is none"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", id="an upgrade"),
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n", id="a broken redirect"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nSet-Cookie: DS=TOPSECRET\x00\r\nContent-Length: 2\r\n\r\n{}", id="a broken cookie line"
        ),
    ],
)
async def test_broken_http_is_a_fault_that_quotes_nothing(answer: bytes) -> None:
    async with raw_server(answer) as url, asking(url) as idp:
        with pytest.raises(IdentityProviderError) as caught:
            await idp.refresh(ADA)

    shown = "".join(traceback.format_exception(caught.value))
    assert "TOPSECRET" not in shown
    assert ADA not in shown
    assert caught.value.__context__ is None


async def test_a_closed_port_is_a_fault() -> None:
    async with raw_server(b"") as url:
        pass

    async with asking(url) as idp:
        with pytest.raises(IdentityProviderError, match="refresh: ConnectError"):
            await idp.refresh(ADA)


async def test_after_closing_every_call_fails(descope: Descope, idp: IdentityProvider) -> None:
    await idp.close()

    with pytest.raises(IdentityProviderError):
        await idp.refresh(ADA)
    assert descope.requests == []


# --- deadlines and places --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Gate:
    """Requests that wait at the server until it opens; `waiting` tells when the wanted number is there."""

    wanted: int
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: int = 0

    async def script(self, request: web.Request) -> web.StreamResponse:
        self.arrived += 1
        if self.arrived >= self.wanted:
            self.waiting.set()
        await self.opened.wait()
        return Reply(body={"sessionJwt": NEW_SESSION}).response()


async def test_silence_is_a_fault_after_the_deadline(descope: Descope) -> None:
    gate = Gate(1)
    descope.scripts[REFRESH] = gate.script
    outcomes: Outcomes = []

    async with asking(descope.url, deadline_s=0.05, outcomes=outcomes) as idp:
        with pytest.raises(IdentityProviderError):
            await idp.refresh(ADA)
    gate.opened.set()

    assert outcomes == [("refresh", "unavailable")]
    assert descope.paths() == [REFRESH]


async def test_an_answer_that_drips_is_held_to_the_same_deadline(descope: Descope) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:  # ends when the connection does
            await response.write(b" ")
            await asyncio.sleep(0.01)

    descope.scripts[REFRESH] = drip

    # Every single byte is in time: only a deadline over the whole call ends this.
    async with asking(descope.url, deadline_s=0.1) as idp, asyncio.timeout(3):
        with pytest.raises(IdentityProviderError, match="refresh: no answer in time"):
            await idp.refresh(ADA)


async def test_waiting_for_a_place_has_a_deadline_too(descope: Descope) -> None:
    gate = Gate(1)
    descope.scripts[REFRESH] = gate.script

    async with asking(descope.url, queue_deadline_s=0.1, concurrency=1) as idp:
        async with asyncio.timeout(3):  # a running call alone may take five seconds
            answers = await asyncio.gather(*(idp.refresh(token) for token in (ADA, BOB)), return_exceptions=True)
    gate.opened.set()

    assert [str(answer) for answer in answers] == ["Descope, refresh: no answer in time"] * 2


async def test_no_more_calls_run_at_once_than_there_are_places(descope: Descope) -> None:
    gate = Gate(3)
    descope.scripts[REFRESH] = gate.script

    async with asking(descope.url, concurrency=3) as idp:
        asked = [asyncio.create_task(idp.refresh(ADA)) for _ in range(10)]
        await gate.waiting.wait()
        # Another operation has places of its own.
        descope.answers(ME, Reply(body={"userId": "Uada"}))
        assert await idp.me(ADA) == {"userId": "Uada"}
        assert gate.arrived == 3
        gate.opened.set()
        answers = await asyncio.gather(*asked)

    assert answers == [SessionPair(NEW_SESSION, ADA, {})] * 10


async def test_made_up_keys_cannot_take_the_places_of_keys_that_worked(descope: Descope) -> None:
    gate = Gate(2)

    async def exchange(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"].endswith(f":{KEY}"):
            return Reply(body={"sessionJwt": NEW_SESSION}).response()
        return await gate.script(request)

    descope.scripts[EXCHANGE] = exchange

    async with asking(descope.url, concurrency=4) as idp:
        made_up = [asyncio.create_task(idp.exchange(f"K{number}", PLAIN)) for number in range(20)]
        await gate.waiting.wait()
        assert await idp.exchange(KEY, PLAIN, worked_before=True) == NEW_SESSION
        assert gate.arrived == 2
        gate.opened.set()
        await asyncio.gather(*made_up)


async def test_a_caller_who_leaves_cancels_only_its_own_call(descope: Descope) -> None:
    gate = Gate(2)
    descope.scripts[REFRESH] = gate.script
    outcomes: Outcomes = []

    async with asking(descope.url, concurrency=2, outcomes=outcomes) as idp:
        leaving = asyncio.create_task(idp.refresh(ADA))
        staying = asyncio.create_task(idp.refresh(BOB))
        queued = asyncio.create_task(idp.refresh(BOB))
        await gate.waiting.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        gate.opened.set()

        assert await staying == SessionPair(NEW_SESSION, BOB, {})
        assert await queued == SessionPair(NEW_SESSION, BOB, {})

    assert outcomes == [("refresh", "ok")] * 2
