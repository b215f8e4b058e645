"""The signed assertion from end to end: what arrives at the upstream counts for those who verify as the page shows."""

import asyncio
import hashlib
import hmac
import json
import os
import re
import shutil
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.assertion_keys import AHEAD_S, AssertionKeys, SigningKey, fresh_key
from tests.conftest import WORKER_KEY, House, OpenHouse, cookie_header

NODE = Path(__file__).parent / "node"
PAGE = Path(__file__).parent.parent.parent / "docs" / "assertion.md"
NAME = "X-Auth-Assertion"
ASSERTED = "    assertion: true"
SAID = {"iss": "http://app.example.com", "aud": "legacy", "sub": "U2ada"}


def shown(language: str, house: House) -> str:
    """The program that the page shows, for this house."""
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return (
        found[1]
        .replace("http://127.0.0.1:8080", str(house.url).rstrip("/"))
        .replace("https://app.example.com", "http://app.example.com")
    )


def ring(house: House) -> AssertionKeys:
    keys = house.gateway.assertion_keys
    assert keys is not None
    return keys


async def asserted(house: House, path: str = "/x", *, login: str = "ada@example.com", **kwargs: Any) -> str:
    """The assertion that the upstream gets with a request of `login`'s."""
    reply = await house.send(kwargs.pop("method", "GET"), path, headers=cookie_header(house.cookies(login)), **kwargs)
    assert reply.status == 200, reply.text
    found = house.upstream.last.value(NAME)
    assert found is not None
    return found


def claims_of(assertion: str) -> dict[str, Any]:
    """Unverified."""
    found: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
    return found


# --- whoever verifies -----------------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """Of one assertion: its claims, or why it was refused."""

    claims: dict[str, Any] | None
    refused: str = ""


async def by_python(house: House, *assertions: str) -> list[Outcome]:
    """What the page's program for Python makes of assertions; PyJWT fetches the keys itself."""
    program: dict[str, Any] = {}
    exec(compile(shown("python", house), "assertion.md", "exec"), program)  # it is our own page

    def verified(assertion: str) -> Outcome:
        try:
            return Outcome(program["caller"](assertion))
        except jwt.PyJWTError as fault:
            return Outcome(None, type(fault).__name__)

    return [await asyncio.to_thread(verified, assertion) for assertion in assertions]


async def by_node(house: House, *assertions: str, tmp_path: Path) -> list[Outcome]:
    """The same for Node; jose fetches the keys itself."""
    node = shutil.which("node")
    if node is None or not (NODE / "node_modules" / "jose").is_dir():
        reason = "node is not installed, or its modules are not; run make node-modules"
        if os.environ.get("GATEWAY_REQUIRE_PROGRAMS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    page = tmp_path / "page.mjs"
    page.write_text(shown("js", house))
    (tmp_path / "node_modules").symlink_to(NODE / "node_modules")  # where Node looks for what the page imports
    program = await asyncio.create_subprocess_exec(
        *(str(node), "--preserve-symlinks", "check.mjs", str(page), *assertions),
        cwd=NODE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await program.communicate()
    assert program.returncode == 0, err.decode()
    return [Outcome(one.get("claims"), one.get("refused", "")) for one in json.loads(out)]


VERIFIERS = [pytest.param(by_python, id="pyjwt"), pytest.param(by_node, id="jose")]
Verifier = Callable[..., Any]


@pytest.fixture(params=VERIFIERS)
def verify(request: pytest.FixtureRequest, tmp_path: Path) -> Verifier:
    verifier: Verifier = request.param
    return partial(verifier, tmp_path=tmp_path) if verifier is by_node else verifier


async def test_an_assertion_counts_for_whoever_verifies_as_the_page_shows(built: OpenHouse, verify: Verifier) -> None:
    async with built(top=ASSERTED) as house:
        ada = house.emulator.directory.person_by_login("ada@example.com")
        assert ada is not None
        assertion = await asserted(house)
        (found,) = await verify(house, assertion)

    assert found.claims == {
        "iss": "http://app.example.com",
        "aud": "legacy",
        "sub": ada.id,
        "email": "ada@example.com",
        "name": "Ada",
        "roles": ["admin", "user"],
        "permissions": found.claims["permissions"],
        "method": "session",
        "request_id": house.upstream.last.value("X-Request-Id"),
        "iat": found.claims["iat"],
        "exp": found.claims["iat"] + 60,
    }
    assert abs(found.claims["iat"] - time.time()) < 20


async def test_an_assertion_for_others_of_others_or_of_yesterday_does_not_count(
    built: OpenHouse, verify: Verifier
) -> None:
    now_s = int(time.time())
    good = {**SAID, "iat": now_s, "exp": now_s + 60}
    async with built(top=ASSERTED) as house:
        own = ring(house)._signing
        stranger = fresh_key()
        public = own.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        head, payload, signature = _signed(own, good).split(".")
        altered = _signed(own, {**good, "sub": "U2root"}).split(".")[1]
        told = {
            "good": _signed(own, good),
            "another audience": _signed(own, {**good, "aud": "other"}),
            "no audience": _signed(own, {k: v for k, v in good.items() if k != "aud"}),
            "another issuer": _signed(own, {**good, "iss": "https://app.example.com"}),
            "run out": _signed(own, {**good, "iat": now_s - 120, "exp": now_s - 60}),
            "no end": _signed(own, {k: v for k, v in good.items() if k != "exp"}),
            "another key": _signed(stranger, good),
            "another key of the same name": _signed(SigningKey(own.id, own.head, own.public, stranger.private), good),
            "other claims": f"{head}.{altered}.{signature}",
            "unsigned": jwt.encode(good, "", "none", {"kid": own.id}),
            "signed with what is public": _hmac(own, public, good),
            "a session token": house.cookies("ada@example.com")["DS"],
        }
        outcomes = dict(zip(told, await verify(house, *told.values()), strict=True))

    assert [name for name, outcome in outcomes.items() if outcome.claims is not None] == ["good"]
    assert all(outcome.refused for name, outcome in outcomes.items() if name != "good")
    assert payload != altered


def _signed(key: SigningKey, claims: dict[str, Any]) -> str:
    return key.sign(json.dumps(claims).encode())


def _hmac(own: SigningKey, public: bytes, claims: dict[str, Any]) -> str:
    """HS256 under the public key's text: PyJWT refuses to make it from PEM, so it is made by hand."""

    def spelt(raw: bytes) -> bytes:
        return urlsafe_b64encode(raw).rstrip(b"=")

    head = spelt(json.dumps({"alg": "HS256", "kid": own.id, "typ": "JWT"}).encode())
    text = head + b"." + spelt(json.dumps(claims).encode())
    return (text + b"." + spelt(hmac.new(public, text, hashlib.sha256).digest())).decode()


async def test_assertions_count_before_and_after_a_key_took_over(built: OpenHouse, verify: Verifier) -> None:
    async with built(top=ASSERTED) as house:
        first = await asserted(house)
        house.gateway.clock.offset_s += 86_400.0
        waiting = await asserted(house)
        before = {key["kid"] for key in ring(house).published()["keys"]}
        house.gateway.clock.offset_s += AHEAD_S
        after = ring(house).sign(json.dumps({**SAID, "iat": int(time.time()), "exp": int(time.time()) + 60}).encode())
        kids = [jwt.get_unverified_header(one)["kid"] for one in (first, waiting, after)]
        outcomes = await verify(house, first, after)

    assert kids[0] == kids[1] != kids[2]
    assert set(kids) == before  # the new one could be found ten minutes before it was needed
    assert [outcome.refused for outcome in outcomes] == ["", ""]


# --- what arrives, and for whom ---------------------------------------------------------------------------------------


async def test_each_request_has_an_assertion_of_its_own_that_names_it(built: OpenHouse) -> None:
    async with built(top=ASSERTED) as house:
        headers = cookie_header(house.cookies("ada@example.com"))
        replies = [await house.get("/x", headers=headers) for _ in range(3)]
        replies.append(await house.send("POST", "/x", headers=headers, data=b"a body"))
        found = [claims_of(str(seen.value(NAME)))["request_id"] for seen in house.upstream.seen]

    assert found == [reply.headers["X-Request-Id"] for reply in replies]
    assert len(set(found)) == 4


async def test_an_assertion_is_for_the_upstream_and_not_for_the_client(built: OpenHouse) -> None:
    async with built(top=ASSERTED) as house:
        reply = await house.get("/x", headers=cookie_header(house.cookies("ada@example.com")))

    assert NAME not in reply.headers


async def test_nobody_is_asserted_where_nobody_is_known(built: OpenHouse) -> None:
    async with built(top=ASSERTED) as house:
        signed_in = cookie_header(house.cookies("ada@example.com"))
        for path, headers in (("/public/x", {}), ("/public/x", signed_in), ("/optional/x", {})):
            assert (await house.get(path, headers=headers)).status == 200
        nobody = [seen.values(NAME) for seen in house.upstream.seen]
        somebody = await asserted(house, "/optional/x")

    assert nobody == [[], [], []]
    assert claims_of(somebody)["email"] == "ada@example.com"


async def test_who_does_not_ask_for_assertions_gets_none(house: House) -> None:
    await house.get("/x", headers=cookie_header(house.cookies("ada@example.com")))

    assert house.upstream.last.values(NAME) == []
    assert house.gateway.assertion_keys is None


async def test_of_two_upstreams_each_gets_what_it_asks_for(built: OpenHouse) -> None:
    other = '  other: {url: "http://127.0.0.1:9", assertion: true}'
    async with built(top=other) as house:
        await house.get("/x", headers=cookie_header(house.cookies("ada@example.com")))

        assert house.gateway.assertion_keys is not None
        assert house.upstream.last.values(NAME) == []


async def test_roles_of_an_assertion_are_those_that_decided(built: OpenHouse) -> None:
    async with built(top=ASSERTED) as house:
        found = claims_of(await asserted(house, "/t/acme/docs/x", login="cleo@example.com"))

    assert (found["tenant"], found["roles"]) == ("acme", ["editor"])
    assert "docs.read" in found["permissions"]


async def test_an_access_key_is_asserted_by_its_id(built: OpenHouse) -> None:
    async with built(top=ASSERTED) as house:
        await house.get("/jobs/x", headers={"Authorization": f"Bearer {WORKER_KEY}"})
        found = claims_of(str(house.upstream.last.value(NAME)))

    assert (found["method"], found["sub"], found["key_id"]) == ("access_key", WORKER_KEY[:28], WORKER_KEY[:28])
    assert WORKER_KEY not in json.dumps(found)


async def test_audience_and_issuer_are_what_the_route_file_says(built: OpenHouse) -> None:
    async with built(top="    assertion: urn:billing\nassertion: {issuer: urn:gateway}") as house:
        found = claims_of(await asserted(house))

    assert (found["aud"], found["iss"]) == ("urn:billing", "urn:gateway")


async def test_an_upgrade_is_asserted(built: OpenHouse) -> None:
    async with built(top=ASSERTED) as house:
        await house.get(
            "/x",
            headers={
                **cookie_header(house.cookies("ada@example.com")),
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
                "Sec-WebSocket-Version": "13",
                "Sec-Fetch-Site": "same-origin",
            },
        )

        assert house.upstream.last.value("Upgrade") == "websocket"
        assert claims_of(str(house.upstream.last.value(NAME)))["email"] == "ada@example.com"


@pytest.mark.parametrize(
    "spelling", [NAME, "x-auth-assertion", "X_Auth_Assertion", "X.Auth.Assertion", "x-Auth_ASSERTION"]
)
@pytest.mark.parametrize("asks", [ASSERTED, ""], ids=["asked for", "not asked for"])
async def test_t04_no_assertion_of_a_client_arrives(built: OpenHouse, spelling: str, asks: str) -> None:
    async with built(top=asks) as house:
        signed_in = cookie_header(house.cookies("ada@example.com"))
        for path, headers in (("/public/x", {}), ("/optional/x", {}), ("/x", signed_in)):
            reply = await house.get(path, headers={**headers, spelling: "eyJ.theirs.own", "Connection": spelling})
            assert reply.status == 200

        assert not any(b"theirs" in seen.head for seen in house.upstream.seen)
        assert len(house.upstream.last.values(NAME)) == (1 if asks else 0)


@pytest.mark.parametrize("spelling", [NAME, "x-auth-assertion", "X_Auth_Assertion", "X.Auth.Roles"])
async def test_t26_no_assertion_of_an_upstream_leaves(built: OpenHouse, spelling: str) -> None:
    async with built(top=ASSERTED) as house:
        house.upstream.reply = (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Own: 1\r\n" + spelling.encode() + b": eyJ.theirs.own\r\n\r\nok"
        )
        for path in ("/public/x", "/public/x"):  # the second time by memory
            reply = await house.get(path)

            assert reply.headers["X-Own"] == "1"
            assert not any("theirs" in value for value in reply.headers.values())


# --- the published keys ---------------------------------------------------------------------------------------------


async def test_t16_the_keys_may_be_kept_and_nothing_private_is_among_them(built: OpenHouse) -> None:
    async with built(top=ASSERTED) as house:
        reply = await house.get("/.auth/jwks.json")
        document = json.loads(reply.body)
        head = await house.send("HEAD", "/.auth/jwks.json")

    assert (reply.status, reply.media_type) == (200, "application/json")
    assert reply.headers["Cache-Control"] == "public, max-age=300"
    assert "Set-Cookie" not in reply.headers
    assert [sorted(key) for key in document["keys"]] == [["alg", "crv", "kid", "kty", "use", "x", "y"]]
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(reply.body)))


async def test_the_keys_are_asked_for_and_nothing_else(built: OpenHouse) -> None:
    async with built(top=ASSERTED) as house:
        posted = await house.send("POST", "/.auth/jwks.json", headers={"Sec-Fetch-Site": "same-origin"})
        near = await house.get("/.auth/jwks.json/")

    assert (posted.status, posted.headers["Allow"], near.status) == (405, "GET, HEAD", 404)


async def test_where_nobody_gets_assertions_there_are_no_keys(house: House) -> None:
    assert (await house.get("/.auth/jwks.json")).status == 404


async def test_a_gateway_with_a_key_file_signs_with_its_key_and_watches_it(built: OpenHouse, tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    file = tmp_path / "assertion.pem"
    file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    async with built(top=f"{ASSERTED}\nassertion: {{key_file: {file}}}") as house:
        assertion = await asserted(house)
        names = {task.get_name() for task in house.gateway.tasks._running}

    assert jwt.decode(assertion, private.public_key(), ["ES256"], audience="legacy")["aud"] == "legacy"
    assert "watch the file of assertion keys" in names


async def test_t16_neither_assertion_nor_key_is_logged(built: OpenHouse) -> None:
    stream = StringIO()
    async with built(top=ASSERTED, log_form="json", log_stream=stream) as house:
        assertion = await asserted(house)

    assert '"route"' in stream.getvalue()
    assert not any(part in stream.getvalue() for part in assertion.split("."))
