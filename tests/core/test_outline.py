"""Headers around a new bearer token: what is known of them says what reading them anew would have said."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from gateway.core import outline as outlines
from gateway.core.credentials import TOKEN_CHARS, find
from gateway.core.facts import HeaderBlock, gather, read_block
from gateway.core.headers import RequestWriter
from gateway.core.model import (
    Admit,
    Auth,
    CookieRules,
    Credentials,
    ForwardToken,
    Grants,
    HeadLimits,
    Identity,
    Kept,
    Kind,
    Match,
    Reason,
    RequestFacts,
    Route,
    ServerRules,
    Upstream,
)
from gateway.core.outline import around_token, outline_of
from gateway.core.tokens import is_jwt, token_digest

LIMITS = HeadLimits()
COOKIES = CookieRules()
PROJECT = "P2demo0000000000000000000000"
LEGACY = Upstream("legacy", "legacy.internal:9000", "legacy.internal", 9000)
ADAS, BOBS = "eyJh.eyJzdWIiOiJVMmFkYSJ9.c2ln", "eyJh.eyJzdWIiOiJVMmJvYiJ9.c2lu"
# A token of ours by its claims, whoever sent it.
OURS = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJQMmRlbW8wMDAwMDAwMDAwMDAwMDAwMDAwMDAwIn0.c2ln"

Raw = tuple[tuple[bytes, bytes], ...]


def sent(*lines: tuple[str, str]) -> bytes:
    return b"GET / HTTP/1.1" + b"".join(f"\r\n{name}: {value}".encode("latin-1") for name, value in lines) + b"\r\n\r\n"


def raw(*lines: tuple[str, str]) -> Raw:
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in lines)


def around(*lines: tuple[str, str]) -> tuple[bytes, bytes] | None:
    return around_token(sent(*lines), len(b"GET / HTTP/1.1"))


def filled(first: str, then: str, *others: tuple[str, str], limits: HeadLimits = LIMITS) -> HeaderBlock | None:
    """A block that was learnt with one token and is filled with another."""
    block = read_block(raw(("Host", "h"), *others, ("Authorization", f"Bearer {first}")), limits)
    assert isinstance(block, HeaderBlock)
    outline = outline_of(block, first.encode(), limits)
    assert outline is not None
    return outline.filled(then.encode())


def facts_of(block: HeaderBlock | None) -> RequestFacts:
    assert block is not None
    found = gather(
        method="GET",
        raw_target=b"/",
        version=(1, 1),
        block=block,
        peer="192.0.2.1",
        server=ServerRules(("http://h",)),
    )
    assert isinstance(found, RequestFacts)
    return found


def same_outline(*others: tuple[str, str], tokens: tuple[str, ...]) -> list[RequestFacts]:
    """Requests that differ in their token alone, all filled into one outline."""
    block = read_block(raw(("Host", "h"), *others, ("Authorization", f"Bearer {tokens[0]}")), LIMITS)
    assert isinstance(block, HeaderBlock)
    outline = outline_of(block, tokens[0].encode(), LIMITS)
    assert outline is not None
    return [facts_of(outline.filled(token.encode())) for token in tokens]


def anew(asked: RequestFacts) -> RequestFacts:
    return replace(asked, kept=Kept())


# --- where a token stands -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_a_token_is_cut_out_of_its_line_and_what_is_around_it_is_the_same_for_all(name: str) -> None:
    lines = ("Host", "h"), ("Accept", "*/*")

    found = [around(lines[0], (name, f"Bearer {token}"), lines[1]) for token in (ADAS, BOBS)]

    assert [cut[1].decode() for cut in found if cut is not None] == [ADAS, BOBS]
    assert len({cut[0] for cut in found if cut is not None}) == 1
    assert all(cut is not None and b"eyJ" not in cut[0] for cut in found)


@pytest.mark.parametrize(
    "value",
    [
        "Bearer K2worker0000",
        "Bearer a.b",
        "Bearer .b.c",
        "Bearer a..c",
        "Bearer a.b.",
        "Bearer a.b.c.d",
        "Bearer a.b.c=",
        "Bearer a.b.c ",
        "Bearer a.b.c, Basic x",
        "Bearer a.b\x00.c",
        "Bearer a.b.c\nX: y",
        "Bearer ",
        "Bearer  a.b.c",
        "bearer a.b.c",
        "Basic a.b.c",
    ],
    ids=repr,
)
def test_t12_what_is_no_plain_bearer_token_is_not_cut_out(value: str) -> None:
    assert around(("Host", "h"), ("Authorization", value)) is None


def test_t04_a_token_in_another_header_is_not_cut_out() -> None:
    assert around(("X", f"Authorization: Bearer {ADAS}")) is None
    assert around(("X-Authorization", f"Bearer {ADAS}")) is None


@given(some.text("ab.-_=+/ \r\n\x00é%", max_size=9))
def test_a_token_is_cut_out_just_where_it_has_a_tokens_shape(text: str) -> None:
    cut = around(("Authorization", f"Bearer {text}"), ("X", "y"))

    # What ends the line ends the token, so only what stands before that is one.
    assert (cut is not None) == is_jwt(text.partition("\r")[0])


# --- the same as read anew ------------------------------------------------------------------------------------------

SOME_LINES = some.lists(
    some.tuples(
        some.sampled_from(["Accept", "X-A", "Cookie", "x_b", "Connection", "X-Forwarded-For", "X-Auth-Subject"]),
        some.sampled_from(["*/*", "a=b; DS=x.y.z", "DSR=x.y.z", "close, X-A", "192.0.2.9", "", OURS]),
    ),
    max_size=4,
)


@settings(deadline=None)
@given(before=SOME_LINES, after=SOME_LINES, auth=some.sampled_from([a for a in Auth if a is not Auth.PUBLIC]))
def test_t13_filled_headers_mean_what_they_mean_when_they_are_read(
    before: list[tuple[str, str]], after: list[tuple[str, str]], auth: Auth
) -> None:
    def lines(token: str) -> Raw:
        return raw(("Host", "h"), *before, ("authorization", f"Bearer {token}"), *after)

    writer = RequestWriter(Route("r", "/**", LEGACY, auth=auth), COOKIES, PROJECT)
    learnt = read_block(lines(ADAS), LIMITS)
    assert isinstance(learnt, HeaderBlock)
    outline = outline_of(learnt, ADAS.encode(), LIMITS)
    assert outline is not None

    for token in (ADAS, BOBS, ADAS, OURS):
        block, read = outline.filled(token.encode()), read_block(lines(token), LIMITS)
        assert block is not None
        assert isinstance(read, HeaderBlock)
        assert (block.headers, block.named, block.host, block.authority, block.framed, block.framed10) == (
            read.headers,
            read.named,
            read.host,
            read.authority,
            read.framed,
            read.framed10,
        )
        ours, theirs = facts_of(block), facts_of(read)
        found, expected = find(ours, auth, COOKIES), find(theirs, auth, COOKIES)
        assert found == expected
        if isinstance(found, Credentials) and isinstance(expected, Credentials):
            assert found.digest == expected.digest
        admit = admitted(token)
        assert writer.lines(ours, admit, "id1") == writer.lines(theirs, admit, "id1")


def test_t18_a_token_that_makes_the_headers_too_large_is_not_filled_in() -> None:
    limits = HeadLimits(line_bytes=100, total_bytes=200)
    longest = "a.b." + "c" * 72
    padded = ("X", "y" * 80)

    for token in (longest, longest + "c"):
        read = read_block(raw(("Host", "h"), padded, ("Authorization", f"Bearer {token}")), limits)
        assert (filled("a.b.c", token, padded, limits=limits) is None) == isinstance(read, Reason)
    in_all = replace(limits, line_bytes=150)
    for token in ("a.b." + "c" * 74, "a.b." + "c" * 75, "a.b." + "c" * 90):
        read = read_block(raw(("Host", "h"), padded, ("Authorization", f"Bearer {token}")), in_all)
        assert (filled("a.b.c", token, padded, limits=in_all) is None) == isinstance(read, Reason)


def test_t17_two_bearers_have_no_outline() -> None:
    lines = ("Host", "h"), ("Authorization", f"Bearer {ADAS}"), ("Authorization", f"Bearer {BOBS}")
    block = read_block(raw(*lines), LIMITS)

    assert isinstance(block, HeaderBlock)
    assert outline_of(block, ADAS.encode(), LIMITS) is None


# --- what depends on the token --------------------------------------------------------------------------------------


def identity(subject: str, digest: bytes) -> Identity:
    return Identity(
        kind=Kind.SESSION,
        subject=subject,
        issued_at_s=0,
        not_before_s=0,
        expires_at_s=1,
        project=Grants(),
        tenants=None,
        selected_tenant=None,
        claims={},
        digest=digest,
    )


def admitted(token: str, route: Route | None = None) -> Admit:
    subject = {ADAS: "U2ada", BOBS: "U2bob"}.get(token, "U2cleo")
    whose = identity(subject, token.encode())
    return Admit(Match(route or Route("r", "/**", LEGACY), {}), whose, token=token)


def test_t13_each_token_is_found_as_itself() -> None:
    asked = same_outline(tokens=(ADAS, BOBS, ADAS))

    found = [find(one, Auth.SESSION, COOKIES) for one in asked]

    assert found == [Credentials(ADAS), Credentials(BOBS), Credentials(ADAS)]
    digests = [one.digest for one in found if isinstance(one, Credentials)]
    assert digests == [token_digest(ADAS), token_digest(BOBS), token_digest(ADAS)]


def test_t18_a_bearer_is_too_long_in_known_headers_too() -> None:
    longer = "a.b." + "c" * TOKEN_CHARS
    asked = same_outline(tokens=(ADAS, longer))

    assert [find(one, Auth.SESSION, COOKIES) for one in asked] == [Credentials(ADAS), Reason.HEADERS_TOO_LARGE]


@pytest.mark.parametrize(
    ("auth", "cookies"),
    [(Auth.ACCESS_KEY, COOKIES), (Auth.SESSION, CookieRules(session="S"))],
    ids=["another kind of route", "other cookies"],
)
def test_t13_what_was_found_for_one_route_is_not_anothers(auth: Auth, cookies: CookieRules) -> None:
    asked = same_outline(("Cookie", f"DS={ADAS}; S={BOBS}"), tokens=(ADAS, BOBS))
    find(asked[0], Auth.SESSION, COOKIES)

    assert find(asked[1], auth, cookies) == find(anew(asked[1]), auth, cookies)
    assert find(asked[1], auth, cookies) != find(anew(asked[1]), Auth.SESSION, COOKIES)


def test_t04_each_token_names_its_own_caller_and_none_goes_on() -> None:
    writer = RequestWriter(Route("r", "/**", LEGACY), COOKIES, PROJECT)
    asked = same_outline(("Accept", "*/*"), tokens=(ADAS, BOBS))

    texts = [writer.lines(one, admitted(token), "id1").text for one, token in zip(asked, (ADAS, BOBS), strict=True)]

    assert [b"X-Auth-Subject: U2ada" in text for text in texts] == [True, False]
    assert [b"X-Auth-Subject: U2bob" in text for text in texts] == [False, True]
    assert all(b"uthorization" not in text and b"Accept: */*" in text for text in texts)


@pytest.mark.parametrize(
    ("route", "other"),
    [
        (Route("r", "/**", LEGACY), {"client": "198.51.100.7"}),
        (Route("r", "/**", LEGACY), {"scheme": "https"}),
        (Route("r", "/**", LEGACY), {"peer": "198.51.100.7"}),
    ],
    ids=["client", "scheme", "peer"],
)
def test_t05_lines_around_a_token_are_those_of_its_own_client(route: Route, other: dict[str, Any]) -> None:
    writer = RequestWriter(route, COOKIES, PROJECT)
    asked = same_outline(tokens=(ADAS, BOBS))
    writer.lines(asked[0], admitted(ADAS), "id1")
    then = replace(asked[1], **other)

    assert writer.lines(then, admitted(BOBS), "id1") == writer.lines(anew(then), admitted(BOBS), "id1")


@pytest.mark.parametrize("way", [ForwardToken.BEARER, ForwardToken.COOKIE])
def test_a_token_that_is_to_go_on_goes_on_itself(way: ForwardToken) -> None:
    route = Route("r", "/**", replace(LEGACY, forward_token=way))
    writer = RequestWriter(route, COOKIES, PROJECT)
    asked = same_outline(tokens=(ADAS, BOBS))

    texts = [
        writer.lines(one, admitted(token, route), "id1").text for one, token in zip(asked, (ADAS, BOBS), strict=True)
    ]

    assert [ADAS.encode() in text for text in texts] == [True, False]
    assert [BOBS.encode() in text for text in texts] == [False, True]


def test_t14_a_key_beside_the_token_is_judged_by_the_token_at_hand() -> None:
    writer = RequestWriter(Route("r", "/**", LEGACY), COOKIES, PROJECT)
    asked = same_outline(("X-API-Key", BOBS), tokens=(ADAS, BOBS))

    texts = [writer.lines(one, admitted(token), "id1").text for one, token in zip(asked, (ADAS, BOBS), strict=True)]

    assert [BOBS.encode() in text for text in texts] == [True, False]


def test_t04_a_bearer_beside_the_session_that_was_chosen_is_judged_by_itself() -> None:
    writer = RequestWriter(Route("r", "/**", LEGACY), COOKIES, PROJECT)
    asked = same_outline(tokens=(ADAS, BOBS))
    of_the_cookie = admitted(OURS)

    for one in asked:
        assert writer.lines(one, of_the_cookie, "id1") == writer.lines(anew(one), of_the_cookie, "id1")
    assert BOBS.encode() in writer.lines(asked[1], of_the_cookie, "id1").text


def test_t16_an_outline_holds_no_token() -> None:
    block = read_block(raw(("Host", "h"), ("Authorization", f"Bearer {ADAS}")), LIMITS)
    assert isinstance(block, HeaderBlock)
    outline = outline_of(block, ADAS.encode(), LIMITS)
    assert outline is not None
    asked = facts_of(outline.filled(BOBS.encode()))
    find(asked, Auth.SESSION, COOKIES)
    RequestWriter(Route("r", "/**", LEGACY), COOKIES, PROJECT).lines(asked, admitted(BOBS), "id1")

    held = repr([getattr(outline, name) for name in outlines.Outline.__slots__])
    kept = asked.kept.outline
    assert kept is not None
    known = kept.found
    assert known is not None
    assert isinstance(known[2], Credentials)
    held += repr(known[2].bearer) + repr(list(kept.heads.values()))
    assert not any(token in held for token in (ADAS, BOBS))


def test_t18_lines_around_a_token_are_kept_for_few_routes() -> None:
    (asked,) = same_outline(tokens=(ADAS,))

    for _ in range(100):
        RequestWriter(Route("r", "/**", LEGACY), COOKIES, PROJECT).lines(asked, admitted(ADAS), "id1")

    assert asked.kept.outline is not None
    assert len(asked.kept.outline.heads) <= 8
