"""Which credentials a request brings, and that none of ours is left in what goes on."""

import re
from collections.abc import Iterable, Sequence
from http.cookies import CookieError, SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.credentials import (
    COOKIE_BYTES,
    JOINED_CHARS,
    PARTS,
    TOKEN_CHARS,
    cleared_cookies,
    find,
    ours,
    session_cookies,
    without_ours,
)
from gateway.core.model import Auth, CookieRules, Credentials, Reason, RequestFacts, Target

RULES = CookieRules()
OURS = ours(RULES)
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJVMmFkYSJ9.c2lnbmF0dXJl"
OTHER_JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJVMmJvYiJ9.c2lnbmF0dXJl"
KEY = "K2worker0000000000000000000demoworkerkey"
TAKING_KEYS = [auth for auth in Auth if auth.takes_keys]
TAKING_SESSIONS = [auth for auth in Auth if auth.takes_sessions]
LOOKING = [auth for auth in Auth if auth is not Auth.PUBLIC]

Line = tuple[bytes, bytes]


def request(*lines: Line, target: Target | None = None) -> RequestFacts:
    named: dict[bytes, tuple[bytes, ...]] = {}
    for name, value in lines:
        named[name.lower()] = (*named.get(name.lower(), ()), value)
    return RequestFacts(
        method="GET",
        target=target or Target("/x", ("x",)),
        authority="app.example.com",
        host="app.example.com",
        scheme="https",
        peer="203.0.113.9",
        client="203.0.113.9",
        headers=tuple((name.lower(), name, value) for name, value in lines),
        named=named,
    )


def cookies(*values: bytes) -> list[Line]:
    return [(b"Cookie", value) for value in values]


def authorization(*values: str) -> list[Line]:
    return [(b"Authorization", value.encode("latin-1")) for value in values]


def api_key(*values: str) -> list[Line]:
    return [(b"X-API-Key", value.encode("latin-1")) for value in values]


def found(lines: Iterable[Line], auth: Auth = Auth.SESSION, rules: CookieRules = RULES) -> Credentials | Reason:
    return find(request(*lines), auth, rules)


def brought(lines: Iterable[Line], auth: Auth = Auth.SESSION, rules: CookieRules = RULES) -> Credentials:
    credentials = found(lines, auth, rules)
    assert isinstance(credentials, Credentials), credentials
    return credentials


# --- cookies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "sessions"),
    [
        pytest.param([b"DS=one"], ("one",), id="alone"),
        pytest.param([b"a=1; DS=one; b=2"], ("one",), id="among others"),
        pytest.param([b"a=1;DS=one;b=2"], ("one",), id="without blanks"),
        pytest.param([b" \tDS\t = one \t"], ("one",), id="blanks and tabs around"),
        pytest.param([b"a=1 DS=evil"], (), id="behind a blank"),
        pytest.param([b"a=1\tDS=evil"], (), id="behind a tab"),
        pytest.param([b"a=1, DS=evil"], (), id="behind a comma"),
        pytest.param([b"DS=one, DS=two"], ("one, DS=two",), id="a comma is part of the value"),
        pytest.param([b"DS=one two"], ("one two",), id="a blank is part of the value"),
        pytest.param([b'q="x; DS=one; y"'], ("one",), id="a quote hides nothing"),
        pytest.param([b'DS="one"'], ('"one"',), id="quotes are part of the value"),
        pytest.param([b"DS=one=two"], ("one=two",), id="only the first equals sign counts"),
        pytest.param([b"DS=one", b"a=1"], ("one",), id="in the first line"),
        pytest.param([b"a=1", b"DS=one"], ("one",), id="in the second line"),
        pytest.param([b"DS=one; DS=two"], ("one", "two"), id="two copies"),
        pytest.param([b"DS=one", b"DS=two"], ("one", "two"), id="two copies in two lines"),
        pytest.param([b"DS=one; DS=one"], ("one",), id="the same copy twice"),
        pytest.param([b"DS=; DS=one"], ("one",), id="an empty copy counts for nothing"),
        pytest.param([b"DS="], (), id="empty"),
        pytest.param([b"DS"], (), id="no equals sign"),
        pytest.param([b"=DS=evil"], (), id="no name"),
        pytest.param([b"ds=evil; Ds=evil"], (), id="other case"),
        pytest.param([b"DSX=evil; XDS=evil; DS.4=evil; DS_1=evil"], (), id="other names"),
        pytest.param([b"\xa0DS=evil; \x0bDS=evil; DS\x0c=evil"], (), id="what other readers strip"),
        pytest.param([b"%44S=evil"], (), id="escaped name"),
        pytest.param([b"DS=\xff\xfe"], ("\xff\xfe",), id="high bytes"),
        pytest.param([b"", b";;", b" "], (), id="nothing"),
    ],
)
def test_t11_cookies_are_read_at_semicolons_and_nowhere_else(lines: Sequence[bytes], sessions: tuple[str, ...]) -> None:
    assert brought(cookies(*lines)) == Credentials(sessions=sessions)


@pytest.mark.parametrize("planted_first", [True, False], ids=["planted first", "planted last"])
def test_t11_a_planted_copy_hides_none_of_ours(planted_first: bool) -> None:
    pairs = [b"DS=planted; DSR=planted2", b"DS=true; DSR=true2"]
    sessions, refreshes = ("planted", "true"), ("planted2", "true2")
    if not planted_first:
        pairs, sessions, refreshes = pairs[::-1], sessions[::-1], refreshes[::-1]

    one_line, two_lines = brought(cookies(b"; ".join(pairs))), brought(cookies(*pairs))

    assert one_line == two_lines == Credentials(sessions=sessions, refreshes=refreshes)


@pytest.mark.parametrize("name", ["DS", "DSR"])
@pytest.mark.parametrize(
    ("pairs", "copies"),
    [
        pytest.param("{0}=a; {0}.1=b", ("ab",), id="two parts"),
        pytest.param("{0}=a; {0}.1=b; {0}.2=c; {0}.3=d", ("abcd",), id="four parts"),
        pytest.param("{0}.2=c; {0}=a; {0}.1=b", ("abc",), id="in any order"),
        pytest.param("{0}=a; {0}.2=c", ("a",), id="a part is missing"),
        pytest.param("{0}=a; {0}.1=b; {0}.3=d", ("ab",), id="a part is missing within"),
        pytest.param("{0}=a; {0}.1=; {0}.2=c", ("a",), id="an ended part is missing"),
        pytest.param("{0}=a; {0}.1=b; {0}.2=c; {0}.3=d; {0}.4=e", ("abcd",), id="there is no fifth"),
        pytest.param("{0}=a; {0}.01=b; {0}.1x=b", ("a",), id="a part has one spelling"),
        pytest.param("{0}.1=b; {0}.2=c", (), id="parts alone"),
        pytest.param("{0}=a; {0}=x; {0}.1=b", ("ab", "xb"), id="parts stand behind each copy"),
        pytest.param("{0}=a; {0}.1=b; {0}.1=x", ("a",), id="a repeated part voids the join"),
        pytest.param("{0}=a; {0}.1=b; {0}.2=c; {0}.2=x", ("a",), id="a repeated later part too"),
        pytest.param("{0}=a; {0}.1=b; {0}.1=b", ("a",), id="even repeated in the same words"),
        pytest.param("{0}=a; {0}=x; {0}.1=b; {0}.1=c", ("a", "x"), id="then each copy counts alone"),
        pytest.param("{0}=a; {0}.1=b; {0}.3=d; {0}.3=x", ("ab",), id="behind a gap nothing counts"),
    ],
)
def test_the_parts_of_a_split_cookie_are_joined(name: str, pairs: str, copies: tuple[str, ...]) -> None:
    credentials = brought(cookies(pairs.format(name).encode()))

    assert (credentials.sessions, credentials.refreshes) == ((copies, ()) if name == "DS" else ((), copies))


def test_the_parts_of_one_cookie_are_not_those_of_the_other() -> None:
    credentials = brought(cookies(b"DS=a; DSR=x; DSR.1=y; DS.1=b"))

    assert credentials == Credentials(sessions=("ab",), refreshes=("xy",))


def test_cookies_go_by_the_names_that_the_rules_give() -> None:
    rules = CookieRules(session="sid", refresh="sid.r")

    assert brought(cookies(b"DS=x; DSR=x; sid=a; sid.1=b; sid.r=c; sid.r.1=d"), rules=rules) == Credentials(
        sessions=("ab",), refreshes=("cd",)
    )


@pytest.mark.parametrize("name", [b"DS", b"DSR", b"DS.1", b"DSR.3"])
def test_t18_eight_copies_of_a_cookie_are_the_most(name: bytes) -> None:
    copies = [name + b"=%d" % number for number in range(9)]

    assert isinstance(found(cookies(b"; ".join(copies[:8]))), Credentials)
    assert found(cookies(b"; ".join(copies))) is Reason.AMBIGUOUS_CREDENTIALS
    assert found(cookies(*copies)) is Reason.AMBIGUOUS_CREDENTIALS


def test_t18_a_thousand_foreign_cookies_are_nothing_to_us() -> None:
    assert brought(cookies(b"; ".join(b"c%d=DS" % number for number in range(1000)))) == Credentials()


@pytest.mark.parametrize("name", ["DS", "DSR"])
def test_t18_a_token_may_be_so_long_and_no_longer(name: str) -> None:
    longest, most = f"{name}={'t' * TOKEN_CHARS}", "t" * (JOINED_CHARS - TOKEN_CHARS)

    assert isinstance(found(cookies(longest.encode())), Credentials)
    assert found(cookies(f"{longest}t".encode())) is Reason.HEADERS_TOO_LARGE
    assert isinstance(found(cookies(f"{longest}; {name}.1={most}".encode())), Credentials)
    assert found(cookies(f"{longest}; {name}.1={most}t".encode())) is Reason.HEADERS_TOO_LARGE
    assert found(cookies(f"{name}=a; {longest}t".encode())) is Reason.HEADERS_TOO_LARGE


# --- bearers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", LOOKING)
@pytest.mark.parametrize("value", [f"Bearer {JWT}", f"bearer {JWT}", f"BEARER   {JWT}", f" Bearer {JWT}\t "])
def test_a_jwt_is_found_as_bearer_on_every_route_that_looks(auth: Auth, value: str) -> None:
    assert brought(authorization(value), auth) == Credentials(bearer=JWT)


@pytest.mark.parametrize("auth", LOOKING)
@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", "Basic QWRhOnNlY3JldA==", JWT, f"BearerX {JWT}", f"Bearer-{JWT}", f"Token {JWT}", "\xff"],
    ids=[
        "nothing",
        "scheme alone",
        "scheme and blank",
        "basic",
        "no scheme",
        "longer",
        "one word",
        "other",
        "high byte",
    ],
)
def test_other_schemes_are_the_upstreams_business(auth: Auth, value: str) -> None:
    assert brought(authorization(value), auth) == Credentials()


@pytest.mark.parametrize("auth", LOOKING)
@pytest.mark.parametrize("gap", ["\t", " \t", "\t ", "\x0b", "\xa0", ",", ":", "="], ids=repr)
def test_a_bearer_stands_behind_blanks_and_nothing_else(auth: Auth, gap: str) -> None:
    assert found(authorization(f"Bearer{gap}{JWT}"), auth) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize("auth", LOOKING)
def test_t14_two_authorization_lines_are_ambiguous(auth: Auth) -> None:
    assert found(authorization(f"Bearer {JWT}", f"Bearer {JWT}"), auth) is Reason.AMBIGUOUS_CREDENTIALS
    assert found(authorization(f"Bearer {JWT}", "Basic QWRhOnNlY3JldA=="), auth) is Reason.AMBIGUOUS_CREDENTIALS


@pytest.mark.parametrize("auth", [Auth.SESSION, Auth.OPTIONAL])
@pytest.mark.parametrize(
    "opaque",
    [KEY, f"{JWT}.x", f"{JWT}=", f'"{JWT}"', f"{JWT} x", f"{JWT},{OTHER_JWT}", "a..b", "." * 10**6, "\xff"],
    ids=["key", "four segments", "padding", "quotes", "two words", "two tokens", "empty segment", "dots", "high byte"],
)
def test_t12_an_opaque_bearer_is_no_jwt(auth: Auth, opaque: str) -> None:
    assert brought(authorization(f"Bearer {opaque}"), auth) == Credentials()


def test_t18_a_bearer_may_be_so_long_and_no_longer() -> None:
    longest = JWT + "x" * (TOKEN_CHARS - len(JWT))

    assert brought(authorization(f"Bearer {longest}")).bearer == longest
    assert found(authorization(f"Bearer {longest}x")) is Reason.HEADERS_TOO_LARGE


# --- access keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", TAKING_KEYS)
@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(authorization(f"Bearer {KEY}"), id="bearer"),
        pytest.param(api_key(KEY), id="own header"),
        pytest.param(api_key(f" {KEY}\t"), id="white space of the header line"),
        pytest.param([*authorization(f"Bearer {KEY}"), *api_key(KEY)], id="the same in both"),
        pytest.param(api_key(KEY, KEY), id="the same in two lines"),
        pytest.param([*authorization("Basic QWRhOnNlY3JldA=="), *api_key(KEY)], id="beside another scheme"),
    ],
)
def test_t14_a_key_is_found_where_keys_are_taken(auth: Auth, lines: list[Line]) -> None:
    assert brought(lines, auth) == Credentials(access_keys=(KEY,))


@pytest.mark.parametrize("auth", [Auth.SESSION, Auth.OPTIONAL])
@pytest.mark.parametrize(
    "lines", [authorization(f"Bearer {KEY}"), api_key(KEY), api_key(KEY, "other"), api_key(JWT), api_key("a b")]
)
def test_t14_keys_are_left_alone_elsewhere(auth: Auth, lines: list[Line]) -> None:
    assert brought([*lines, *cookies(b"DS=one")], auth) == Credentials(sessions=("one",))


@pytest.mark.parametrize("auth", TAKING_KEYS)
@pytest.mark.parametrize(
    "key",
    [
        pytest.param("K2 x", id="blank"),
        pytest.param("K2\tx", id="tab"),
        pytest.param("K2\x00x", id="NUL"),
        pytest.param("K2\x7fx", id="DEL"),
        pytest.param("\xa0K2x", id="no-break space before"),
        pytest.param("K2x\x85", id="next line behind"),
        pytest.param("\x0bK2x", id="vertical tab before"),
        pytest.param("K2é", id="no ASCII"),
        pytest.param("K" * 4097, id="too long"),
    ],
)
def test_t14_a_key_is_visible_ascii(auth: Auth, key: str) -> None:
    assert found(api_key(key), auth) is Reason.ACCESS_KEY_REFUSED
    assert found(authorization(f"Bearer {key}x"), auth) in (Reason.ACCESS_KEY_REFUSED, Reason.TOKEN_MALFORMED)


@pytest.mark.parametrize("auth", TAKING_KEYS)
def test_t14_an_empty_key_is_refused_and_the_longest_is_not(auth: Auth) -> None:
    assert found(api_key(""), auth) is Reason.ACCESS_KEY_REFUSED
    assert brought(api_key("K" * 4096), auth).access_keys == ("K" * 4096,)


@pytest.mark.parametrize("auth", TAKING_KEYS)
@pytest.mark.parametrize("altered", [KEY[:-1], KEY + "x", KEY.lower(), KEY.replace("K", "%4B")])
def test_t14_an_altered_key_is_another_key(auth: Auth, altered: str) -> None:
    assert brought(api_key(altered), auth).access_keys == (altered,)
    assert found(api_key(KEY, altered), auth) is Reason.AMBIGUOUS_CREDENTIALS
    assert found([*authorization(f"Bearer {KEY}"), *api_key(altered)], auth) is Reason.AMBIGUOUS_CREDENTIALS


@pytest.mark.parametrize("auth", TAKING_KEYS)
def test_t14_a_jwt_is_no_access_key(auth: Auth) -> None:
    assert found(api_key(JWT), auth) is Reason.TOKEN_MALFORMED
    assert found(api_key(KEY, JWT), auth) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize("auth", Auth)
def test_t14_a_key_in_the_query_is_never_read(auth: Auth) -> None:
    query = f"api_key={KEY}&access_key={KEY}&X-API-Key={KEY}&access_token={JWT}&DS={JWT}"

    assert find(request(target=Target("/x", ("x",), query)), auth, RULES) == Credentials()


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(cookies(b"DS=one"), id="session cookie"),
        pytest.param(cookies(b"DSR=one"), id="refresh cookie"),
        pytest.param(authorization(f"Bearer {JWT}"), id="bearer"),
    ],
)
def test_t14_a_session_beside_a_key_is_ambiguous_where_both_are_taken(lines: list[Line]) -> None:
    assert found([*lines, *api_key(KEY)], Auth.ANY) is Reason.AMBIGUOUS_CREDENTIALS


def test_t14_a_session_cookie_beside_a_bearer_key_is_ambiguous() -> None:
    lines = [*cookies(b"DS=one"), *authorization(f"Bearer {KEY}")]

    assert found(lines, Auth.ANY) is Reason.AMBIGUOUS_CREDENTIALS
    assert brought(lines, Auth.ACCESS_KEY) == Credentials(access_keys=(KEY,))


# --- kinds of routes ------------------------------------------------------------------------------------------------


def test_a_public_route_looks_at_nothing() -> None:
    everything = [
        *authorization(f"Bearer {JWT}", "Bearer\tx"),
        *api_key("a b", JWT),
        *cookies(b"; ".join([b"DS=" + b"x" * 9000] * 9)),
    ]

    assert brought(everything, Auth.PUBLIC) == Credentials()


@pytest.mark.parametrize("auth", TAKING_SESSIONS)
def test_bearer_session_and_refresh_are_found_together(auth: Auth) -> None:
    lines = [*authorization(f"Bearer {JWT}"), *cookies(b"DS=one; DSR=two")]

    assert brought(lines, auth) == Credentials(bearer=JWT, sessions=("one",), refreshes=("two",))


def test_a_route_for_keys_reads_no_cookies_but_a_bearer() -> None:
    many = b"; ".join([b"DS=one"] * 9)

    assert brought([*cookies(many, b"DSR=two")], Auth.ACCESS_KEY) == Credentials()
    assert brought([*cookies(many), *authorization(f"Bearer {JWT}")], Auth.ACCESS_KEY) == Credentials(bearer=JWT)


def test_t16_credentials_do_not_show_themselves() -> None:
    shown = repr(Credentials(bearer=JWT, sessions=("one",), refreshes=("two",), access_keys=(KEY,)))

    assert not [secret for secret in (JWT, "one", "two", KEY) if secret in shown]


HEADER_NAMES = st.sampled_from([b"Cookie", b"Authorization", b"X-API-Key"])
HEADER_VALUES = st.one_of(st.binary(), st.binary().map(lambda raw: b"Bearer " + raw), st.binary().map(b"DS=".__add__))


@given(st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=5), st.sampled_from(Auth))
def test_t21_any_bytes_are_credentials_or_refused(lines: list[Line], auth: Auth) -> None:
    assert isinstance(found(lines, auth), Credentials | Reason)


# --- cookies that we write ------------------------------------------------------------------------------------------

ROOMS = [COOKIE_BYTES - len("DS"), *[COOKIE_BYTES - len("DS.1")] * (PARTS - 1)]


def pair_of(line: bytes) -> tuple[str, str]:
    name, _, value = line.partition(b";")[0].decode().partition("=")
    return name, value


def kept_by_browser(jar: dict[str, str], lines: Iterable[bytes]) -> dict[str, str]:
    """The jar after some `Set-Cookie` lines."""
    after = dict(jar)
    for line in lines:
        name, value = pair_of(line)
        if b"; Max-Age=0;" in line:
            after.pop(name, None)
        else:
            after[name] = value
    return after


def sent_by_browser(jar: dict[str, str]) -> list[Line]:
    """A line for each cookie, so that none is longer than a line may be."""
    return cookies(*(f"{name}={value}".encode() for name, value in jar.items()))


def test_a_session_is_written_with_every_attribute_and_ends_higher_parts() -> None:
    assert session_cookies(RULES, "one", "two", 600, 86400) == (
        b"DS=one; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax",
        *(b"DS.%d=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax" % number for number in (1, 2, 3)),
        b"DSR=two; Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax",
        *(b"DSR.%d=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax" % number for number in (1, 2, 3)),
    )


def test_cookies_are_spelt_as_the_rules_say() -> None:
    rules = CookieRules("sid", "rid", secure=False, same_site="strict", domain="example.com", path="/app")

    lines = session_cookies(rules, "one", "two", 60, 90)

    assert lines[0] == b"sid=one; Path=/app; Max-Age=60; HttpOnly; Domain=example.com; SameSite=Strict"
    assert lines[4] == b"rid=two; Path=/app; Max-Age=90; HttpOnly; Domain=example.com; SameSite=Strict"
    assert b"SameSite=None" in session_cookies(CookieRules(same_site="none"), "one", None, 60, 90)[0]


def test_without_a_new_refresh_token_the_old_one_stays_whole() -> None:
    assert {pair_of(line)[0] for line in session_cookies(RULES, "one", None, 60, 90)} == {"DS", "DS.1", "DS.2", "DS.3"}


@pytest.mark.parametrize(
    ("length", "parts"),
    [(1, 1), (ROOMS[0], 1), (ROOMS[0] + 1, 2), (sum(ROOMS[:2]) + 1, 3), (sum(ROOMS[:3]) + 1, 4), (sum(ROOMS), 4)],
)
def test_a_token_is_split_only_where_it_must(length: int, parts: int) -> None:
    lines = session_cookies(RULES, "t" * length, None, 600, 0)

    written = [pair_of(line) for line in lines if b"; Max-Age=600;" in line]
    assert [name for name, _ in written] == ["DS", "DS.1", "DS.2", "DS.3"][:parts]
    assert all(len(name) + len(value) <= COOKIE_BYTES for name, value in written)
    assert [pair_of(line) for line in lines if b"; Max-Age=0;" in line] == [
        (name, "") for name in ["DS", "DS.1", "DS.2", "DS.3"][parts:]
    ]


def test_a_token_that_four_cookies_cannot_hold_is_not_written() -> None:
    token = "secret" * 3000

    with pytest.raises(ValueError, match="too large for 4 cookies") as caught:
        session_cookies(RULES, token, None, 600, 0)
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="cookie DSR"):
        session_cookies(RULES, "one", "t" * (sum(ROOMS) + 1), 600, 600)


def test_clearing_ends_every_name_that_is_ours() -> None:
    rules = CookieRules(domain="example.com", path="/app")
    lines = cleared_cookies(rules)

    assert {pair_of(line)[0].encode() for line in lines} == ours(rules)
    assert len(lines) == len(ours(rules)) == 2 * PARTS
    for line in lines:
        name, value = pair_of(line)
        assert value == ""
        assert line == f"{name}=; Path=/app; Max-Age=0; HttpOnly; Domain=example.com; Secure; SameSite=Lax".encode()


# The refresh cookie's longer name leaves a byte less in each of its four.
MOST = sum(ROOMS) - PARTS
LENGTHS = st.one_of(st.integers(1, MOST), st.sampled_from([ROOMS[0], ROOMS[0] + 1, sum(ROOMS[:2]), MOST]))
LETTERS = "".join(letter * 700 for letter in "abcdefghijklmnopqrstuvwxyz")
TOKENS = st.tuples(LENGTHS, st.integers(0, 2000)).map(lambda drawn: LETTERS[drawn[1] :][: drawn[0]])


@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=3))
def test_a_written_session_is_found_again_whatever_stood_there_before(written: list[tuple[str, str]]) -> None:
    jar: dict[str, str] = {}
    for session, refresh in written:
        jar = kept_by_browser(jar, session_cookies(RULES, session, refresh, 600, 86400))

        assert brought(sent_by_browser(jar)) == Credentials(sessions=(session,), refreshes=(refresh,))
    assert kept_by_browser(jar, cleared_cookies(RULES)) == {}


# --- cookies that go on ---------------------------------------------------------------------------------------------


def test_ours_are_both_names_and_their_parts() -> None:
    assert ours(RULES) == {b"DS", b"DS.1", b"DS.2", b"DS.3", b"DSR", b"DSR.1", b"DSR.2", b"DSR.3"}
    assert ours(CookieRules(session="sid", refresh="rid")) >= {b"sid", b"sid.3", b"rid", b"rid.1"}


@pytest.mark.parametrize(
    ("value", "left"),
    [
        pytest.param(b"a=1; b=2", b"a=1; b=2", id="none of ours"),
        pytest.param(b" a=1;;  b = 2 ;", b" a=1;;  b = 2 ;", id="odd, but none of ours"),
        pytest.param(b"a=DS; b=DSR", b"a=DS; b=DSR", id="our names as values"),
        pytest.param(b"DSX=1; XDS=2; ds=3; DS.4=4; DS-1=5", b"DSX=1; XDS=2; ds=3; DS.4=4; DS-1=5", id="similar names"),
        pytest.param(b"q=x&DS=1", b"q=x&DS=1", id="a query as value"),
        pytest.param(b"\xff=\xfe; \xe9", b"\xff=\xfe; \xe9", id="high bytes"),
        pytest.param(b"", b"", id="nothing"),
        pytest.param(b"DS=t", b"", id="alone"),
        pytest.param(b"DS=t; DSR=t; DS.1=t; DSR.3=t", b"", id="all of ours"),
        pytest.param(b" ; DS=t;; ", b"", id="nothing but separators left"),
        pytest.param(b"DS=t; a=1", b"a=1", id="first"),
        pytest.param(b"a=1; DS=t", b"a=1", id="last"),
        pytest.param(b"a=1; DS=t; b=2", b"a=1; b=2", id="between"),
        pytest.param(b"a=1;DS=t;b=2", b"a=1;b=2", id="without blanks"),
        pytest.param(b"a=1; DS=t; a=2; DS=u; a=3", b"a=1; a=2; a=3", id="several copies"),
        pytest.param(b"DS; a=1", b"a=1", id="without value"),
        pytest.param(b"\tDS\t=t; a=1", b"a=1", id="tabs"),
        pytest.param(b'a="x; DS=t; y"', b'a="x; y"', id="within quotes"),
        pytest.param(b"a=1 DS=evil; b=2", b"b=2", id="behind a blank"),
        pytest.param(b"a=1, DS=evil; b=2", b"b=2", id="behind a comma"),
        pytest.param(b"a=1,DSR.2 = evil; b=2", b"b=2", id="a part behind a comma"),
        pytest.param(b"a=1\x0bDS=evil; b=2", b"b=2", id="behind a vertical tab"),
        pytest.param(b'a="1"DS=evil; b=2', b"b=2", id="behind a quote"),
        pytest.param(b'"DS"=evil; b=2', b"b=2", id="in quotes"),
        pytest.param(b"=DS=evil; b=2", b"b=2", id="behind an equals sign"),
        pytest.param(b"\xa0DS=evil; b=2", b"b=2", id="behind a no-break space"),
        pytest.param(b"DS\x85=evil; b=2", b"b=2", id="before a next line"),
        pytest.param(b"\xe3\x80\x80DS=evil; b=2", b"b=2", id="behind an ideographic space"),
        pytest.param(b"\x1fDS\x1c=evil; b=2", b"b=2", id="between separators"),
    ],
)
def test_t04_our_cookies_are_taken_out_and_nothing_else_changes(value: bytes, left: bytes) -> None:
    assert without_ours(value, OURS) == left


def test_names_of_the_rules_are_taken_literally() -> None:
    names = ours(CookieRules(session="s.d", refresh="r+"))

    assert without_ours(b"a=1; s.d=t; sxd=2; r+=t; rr=3", names) == b"a=1; sxd=2; rr=3"


COOKIE_PIECES = st.sampled_from(
    [
        *("DS", "DSR", "DS.1", "DSR.3", "=", "=", "=", ";", "; ", " ", ",", "\t", "\x0b", "\x0c", "\x1c", "\x00", '"'),
        *("'", "\xa0", "\x85", "\xe3\x80\x80", "\xe9", "a", "b1", "ds", "DS.9", "&", "$", "\\", "DSX", ".", "-"),
    ]
)
COOKIE_VALUES = st.one_of(
    st.lists(COOKIE_PIECES, max_size=14).map(lambda pieces: "".join(pieces).encode("latin-1")), st.binary()
)
SPLITS = [re.compile(separators) for separators in (r";", r"[;,]", r"[;\s]", r"[;,\s]", r"[;,\s\"']")]


def seen_by_careless_readers(value: bytes) -> set[str]:
    """The names that somebody might see who splits and strips in a way of his own."""
    seen: set[str] = set()
    for text in (value.decode("latin-1"), value.decode("utf-8", "replace"), value.decode("utf-8", "ignore")):
        for split in SPLITS:
            for piece in split.split(text):
                for spelt in (piece, piece.strip().lstrip("=")):
                    name, mark, _ = spelt.partition("=")
                    seen.update({name.strip(), name.strip(" \t\x00\"'"), name.strip("\x00").strip()} if mark else ())
        jar: SimpleCookie = SimpleCookie()
        try:
            jar.load(text)
        except CookieError:
            continue
        seen.update(jar)
    return seen


@given(COOKIE_VALUES)
def test_t04_no_careless_reader_sees_a_cookie_of_ours(value: bytes) -> None:
    left = without_ours(value, OURS)

    assert not seen_by_careless_readers(left) & {name.decode() for name in OURS}
    assert not {pair.partition(b"=")[0].strip(b" \t") for pair in left.split(b";")} & OURS


@given(COOKIE_VALUES)
def test_t04_cookies_that_do_not_speak_of_ours_all_go_on(value: bytes) -> None:
    left = without_ours(value, OURS)

    def others(text: bytes) -> list[bytes]:
        pairs = [pair.strip(b" \t") for pair in text.split(b";") if b"DS" not in pair]
        return [pair for pair in pairs if pair]

    assert others(left) == others(value)
    assert without_ours(left, OURS) == left


@pytest.mark.parametrize("scheme", ["Digest", "Custom", "bearen", "Bearer2", "earer"])
@pytest.mark.parametrize("auth", TAKING_KEYS)
def test_t14_a_scheme_as_long_as_bearer_is_still_another(scheme: str, auth: Auth) -> None:
    assert brought(authorization(f"{scheme} {KEY}"), auth) == Credentials()
    assert brought(authorization(f"{scheme} {JWT}"), auth) == Credentials()
