"""Which request another proxy asks about: told exactly and by a trusted peer, or refused."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.facts import gather, read_block
from gateway.core.forwarded import Dialect, is_socket, original
from gateway.core.model import HeadLimits, Reason, RequestFacts, ServerRules

SERVER = ServerRules(("https://app.example.com",), trusted_proxies=(ip_network("10.0.0.0/8"),))
PROXY = "10.0.0.1"
Lines = dict[bytes, bytes]
COMMON: Lines = {b"Host": b"gateway:8080", b"X-Forwarded-For": b"203.0.113.9", b"X-Forwarded-Proto": b"https"}
ORIGINAL: Lines = {
    b"X-Original-Method": b"POST",
    b"X-Original-URI": b"/admin/x?y=1",
    b"X-Original-Host": b"App.example.com",
}
FORWARDED: Lines = {
    b"X-Forwarded-Method": b"POST",
    b"X-Forwarded-Uri": b"/admin/x?y=1",
    b"X-Forwarded-Host": b"App.example.com",
}
SAID = {
    Dialect.NGINX: COMMON | ORIGINAL,
    Dialect.TRAEFIK: COMMON | FORWARDED,
    Dialect.CADDY: COMMON | FORWARDED,
    Dialect.HAPROXY: COMMON | FORWARDED,
    Dialect.ENVOY: COMMON | {b"Host": b"App.example.com"},
}
BY_HEADERS = [dialect for dialect in Dialect if dialect is not Dialect.ENVOY]


def ask(
    dialect: Dialect,
    lines: list[tuple[bytes, bytes]] | None = None,
    *,
    target: bytes = b"",
    method: str = "",
    peer: str = PROXY,
    server: ServerRules = SERVER,
) -> RequestFacts | Reason:
    is_envoy = dialect is Dialect.ENVOY
    raw = target or (b"/.auth/verify/admin/x?y=1" if is_envoy else b"/.auth/verify")
    asked = gather(
        method=method or ("POST" if is_envoy else "GET"),
        raw_target=raw,
        version=(1, 1),
        block=read_block(tuple(list(SAID[dialect].items()) if lines is None else lines), HeadLimits()),
        peer=peer,
        server=server,
    )
    return original(asked, raw, dialect, server) if isinstance(asked, RequestFacts) else asked


@pytest.mark.parametrize("dialect", Dialect)
def test_the_original_request_is_what_the_proxy_says(dialect: Dialect) -> None:
    facts = ask(dialect)

    assert isinstance(facts, RequestFacts)
    assert (facts.method, facts.target.text, facts.host) == ("POST", "/admin/x?y=1", "app.example.com")
    assert (facts.authority, facts.scheme, facts.client, facts.peer) == (
        "App.example.com",
        "https",
        "203.0.113.9",
        PROXY,
    )


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("peer", ["203.0.113.9", "11.0.0.1", ""])
def test_t05_nobody_but_a_trusted_proxy_may_ask(dialect: Dialect, peer: str) -> None:
    assert ask(dialect, peer=peer) is Reason.CLIENT_NOT_ALLOWED


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("hops", [b"unknown", b"unix:", b"203.0.113.9, x", b"x, 10.0.0.2", b","])
def test_t05_a_client_that_cannot_be_read_is_not_taken_for_the_proxy(dialect: Dialect, hops: bytes) -> None:
    lines = SAID[dialect] | {b"X-Forwarded-For": hops}

    assert ask(dialect, list(lines.items())) is Reason.BAD_REQUEST


def test_what_stands_left_of_the_client_need_not_be_read() -> None:
    lines = SAID[Dialect.ENVOY] | {b"X-Forwarded-For": b"x, 203.0.113.9, 10.0.0.2"}
    facts = ask(Dialect.ENVOY, list(lines.items()))

    assert isinstance(facts, RequestFacts)
    assert facts.client == "203.0.113.9"


def test_t05_where_no_proxy_is_trusted_nobody_may_ask() -> None:
    assert ask(Dialect.NGINX, server=ServerRules(SERVER.public_urls)) is Reason.CLIENT_NOT_ALLOWED


@pytest.mark.parametrize(
    ("dialect", "name"), [(dialect, name) for dialect in Dialect for name in SAID[dialect]], ids=str
)
def test_t21_what_is_missing_empty_or_doubled_is_a_bad_request(dialect: Dialect, name: bytes) -> None:
    lines = list(SAID[dialect].items())
    value = SAID[dialect][name]

    if name != b"Host" or dialect is Dialect.ENVOY:
        assert ask(dialect, [line for line in lines if line[0] != name]) is Reason.BAD_REQUEST
    assert ask(dialect, [(key, b"" if key == name else told) for key, told in lines]) is Reason.BAD_REQUEST
    assert ask(dialect, [*lines, (name, value)]) is Reason.BAD_REQUEST
    assert ask(dialect, [*lines, (name.lower(), b"/public")]) is Reason.BAD_REQUEST


@pytest.mark.parametrize("dialect", BY_HEADERS)
def test_t05_another_dialects_headers_count_for_nothing(dialect: Dialect) -> None:
    others = FORWARDED if dialect is Dialect.NGINX else ORIGINAL
    own = ORIGINAL if dialect is Dialect.NGINX else FORWARDED
    decoys = [(name, b"/public") for name in others] + [(b"X-Rewrite-URL", b"/public"), (b"Forwarded", b"host=evil")]

    facts = ask(dialect, [*SAID[dialect].items(), *decoys])

    assert isinstance(facts, RequestFacts)
    assert facts.target.path == "/admin/x"
    assert ask(dialect, [*COMMON.items(), *((n, v) for n, v in others.items() if n not in own)]) is Reason.BAD_REQUEST


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (b"/admin/../public", Reason.BAD_TARGET),
        (b"/admin/%2e%2e/public", Reason.BAD_TARGET),
        (b"//admin", Reason.BAD_TARGET),
        (b"/admin%2fx", Reason.BAD_TARGET),
        (b"/admin;x", Reason.BAD_TARGET),
        (b"/admin#x", Reason.BAD_TARGET),
        (b"http://app.example.com/public", Reason.BAD_REQUEST),
        (b"admin", Reason.BAD_REQUEST),
        (b"*", Reason.BAD_REQUEST),
        (b"/.auth/verify", Reason.NOT_FOUND),
        (b"/.auth/login", Reason.NOT_FOUND),
        (b"/%2eauth/login", Reason.NOT_FOUND),
    ],
    ids=str,
)
@pytest.mark.parametrize("dialect", BY_HEADERS)
def test_t02_an_address_with_two_meanings_is_refused(dialect: Dialect, uri: bytes, reason: Reason) -> None:
    name = b"X-Original-URI" if dialect is Dialect.NGINX else b"X-Forwarded-Uri"

    assert ask(dialect, list((SAID[dialect] | {name: uri}).items())) is reason


def test_t02_a_query_decides_nothing() -> None:
    facts = ask(Dialect.NGINX, list((SAID[Dialect.NGINX] | {b"X-Original-URI": b"/admin?x=/public/"}).items()))

    assert isinstance(facts, RequestFacts)
    assert facts.target.segments == ("admin",)


@pytest.mark.parametrize("dialect", BY_HEADERS)
@pytest.mark.parametrize("target", [b"/.auth/verify/public", b"/.auth/verify/", b"/.auth/verify?/public"])
def test_t02_the_question_itself_has_one_address(dialect: Dialect, target: bytes) -> None:
    facts = ask(dialect, target=target)

    if dialect is Dialect.CADDY and b"?" in target:  # it always puts the original query there; nobody reads it
        assert isinstance(facts, RequestFacts)
        assert facts.target.text == "/admin/x?y=1"
    else:
        assert facts is Reason.BAD_REQUEST


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (b"/.auth/verify", Reason.BAD_REQUEST),
        (b"/.auth/verify?/public", Reason.BAD_REQUEST),
        (b"/.auth/verifyx", Reason.BAD_REQUEST),
        (b"/%2eauth/verify/public", Reason.BAD_REQUEST),
        (b"/.auth/verify/a/../public", Reason.BAD_TARGET),
        (b"/.auth/verify//public", Reason.BAD_TARGET),
        (b"/.auth/verify/.auth/verify/public", Reason.NOT_FOUND),
    ],
    ids=str,
)
def test_t02_what_stands_behind_the_prefix_is_one_path(target: bytes, reason: Reason) -> None:
    assert ask(Dialect.ENVOY, target=target) is reason


@pytest.mark.parametrize("method", [b"get", b"GET ", b"G ET", b"GET, POST", b"x_y"])
def test_t03_the_original_method_is_a_word_in_capitals(method: bytes) -> None:
    lines = list((SAID[Dialect.NGINX] | {b"X-Original-Method": method}).items())

    assert ask(Dialect.NGINX, lines) is Reason.BAD_REQUEST


def test_t03_connect_and_trace_are_not_asked_about() -> None:
    lines = list((SAID[Dialect.CADDY] | {b"X-Forwarded-Method": b"TRACE"}).items())

    assert ask(Dialect.CADDY, lines) is Reason.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("host", [b"a/b", b"a, b", b"u@a", b"a:0", b"[::1"])
@pytest.mark.parametrize("dialect", Dialect)
def test_t03_the_original_host_is_one_plain_name(dialect: Dialect, host: bytes) -> None:
    name = {Dialect.NGINX: b"X-Original-Host", Dialect.ENVOY: b"Host"}.get(dialect, b"X-Forwarded-Host")

    assert ask(dialect, list((SAID[dialect] | {name: host}).items())) is Reason.BAD_REQUEST


@pytest.mark.parametrize("scheme", [b"ftp", b"HTTPS", b"http, https", b"wss"])
def test_t05_the_original_scheme_is_one_of_two(scheme: bytes) -> None:
    assert (
        ask(Dialect.CADDY, list((SAID[Dialect.CADDY] | {b"X-Forwarded-Proto": scheme}).items())) is Reason.BAD_REQUEST
    )


def test_t05_the_client_is_the_last_address_that_is_no_trusted_proxy() -> None:
    lines = list((SAID[Dialect.CADDY] | {b"X-Forwarded-For": b"198.51.100.7, 203.0.113.9, 10.0.0.2"}).items())

    facts = ask(Dialect.CADDY, lines)

    assert isinstance(facts, RequestFacts)
    assert facts.client == "203.0.113.9"


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ((b"Sec-WebSocket-Key", b"x"), True),
        ((b"Upgrade", b"WebSocket"), True),
        ((b"Upgrade", b"h2c"), False),
        ((b"Accept", b"*/*"), False),
    ],
    ids=str,
)
def test_t24_a_socket_is_known_by_what_proxies_pass_on(line: tuple[bytes, bytes], is_one: bool) -> None:
    lines = list((SAID[Dialect.TRAEFIK] | {b"X-Forwarded-Method": b"GET"}).items())

    facts = ask(Dialect.TRAEFIK, [*lines, line])

    assert isinstance(facts, RequestFacts)
    assert is_socket(facts) is is_one


@given(
    dialect=st.sampled_from(list(Dialect)),
    uri=st.binary(max_size=20),
    method=st.binary(max_size=5),
    host=st.binary(max_size=8),
)
def test_t21_whatever_is_said_is_a_request_or_refused(dialect: Dialect, uri: bytes, method: bytes, host: bytes) -> None:
    names = (b"X-Original-", b"URI") if dialect is Dialect.NGINX else (b"X-Forwarded-", b"Uri")
    said = SAID[dialect] | {
        names[0] + names[1]: uri,
        names[0] + b"Method": method,
        names[0] + b"Host": host,
    }

    facts = ask(dialect, list(said.items()))

    assert isinstance(facts, Reason) or facts.target.path.startswith("/")
