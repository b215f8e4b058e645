"""What reaches the upstream and what comes back: nothing of a client's can pass for ours (T-04 to T-08, T-26)."""

from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.headers import (
    Lines,
    ReplyAdditions,
    ReplyWriter,
    RequestWriter,
    Told,
    kept_private,
    spelt,
)
from gateway.core.limits import NS_PER_S
from gateway.core.model import (
    Admit,
    Auth,
    ConstantTenant,
    CookieRules,
    Cors,
    ForwardToken,
    Grants,
    HeaderLine,
    HeaderRules,
    Identity,
    Kept,
    Kind,
    Limit,
    Match,
    Per,
    Person,
    Rate,
    RequestFacts,
    Route,
    Target,
    Template,
    Upstream,
)

PROJECT = "P2demo0000000000000000000000"
LEGACY = Upstream("legacy", "legacy.internal:9000", "legacy.internal", 9000)
ROUTE = Route("r", "/**", LEGACY)
ADA = Identity(
    kind=Kind.SESSION,
    subject="U2ada",
    issued_at_s=0,
    not_before_s=0,
    expires_at_s=1,
    project=Grants(("admin", "a,b"), ("docs.read",)),
    tenants={"acme": Grants(("editor",), ("docs.write",))},
    selected_tenant="acme",
    claims={"email": "ada@example.com", "name": "Ada Lovelace é", "plan": "pro"},
    digest=b"",
)
# Header and payload of a token of ours; whoever looks only at `iss` must not need more.
OURS = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJQMmRlbW8wMDAwMDAwMDAwMDAwMDAwMDAwMDAwIn0.c2ln"
BOB = replace(ADA, subject="U2bob", digest=b"bob", claims={})
FOREIGN = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL290aGVyLmV4YW1wbGUifQ.c2ln"


def lines_of(*headers: tuple[str, str]) -> tuple[HeaderLine, ...]:
    return tuple((name.lower().encode(), name.encode(), value.encode("latin-1")) for name, value in headers)


def facts(*headers: tuple[str, str], **changes: object) -> RequestFacts:
    lines = lines_of(*headers)
    named: dict[bytes, tuple[bytes, ...]] = {}
    for lower, _, value in lines:
        named[lower] = (*named.get(lower, ()), value)
    made = RequestFacts(
        method="GET",
        target=Target("/x", ("x",)),
        authority="app.example.com",
        host="app.example.com",
        scheme="https",
        peer="203.0.113.9",
        client="203.0.113.9",
        headers=lines,
        named=named,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the tests' own shorthand


def sent(*headers: tuple[str, str], route: Route = ROUTE, admit: Admit | None = None, **changes: object) -> list[str]:
    admit = admit or Admit(Match(route, {"tenant": "acme"}), ADA, "acme")
    writer = RequestWriter(route, CookieRules(), PROJECT)
    return writer.lines(facts(*headers, **changes), admit, "id1").text.decode("latin-1").split("\r\n")[:-1]


def named(lines: list[str], name: str) -> list[str]:
    return [line.split(": ", 1)[1] for line in lines if line.lower().startswith(name.lower() + ":")]


SPELLINGS = ["X-Auth-{}", "x-auth-{}", "X_Auth_{}", "X.Auth.{}", "x-Auth_{}", "X-AUTH-{}", "x_auth.{}"]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("what", ["Subject", "Email", "Roles", "Tenant", "Assertion", "Anything"])
@pytest.mark.parametrize("anonymous", [True, False], ids=["anonymous", "signed in"])
def test_t04_no_spelling_of_an_identity_header_passes(spelling: str, what: str, anonymous: bool) -> None:
    admit = Admit(Match(ROUTE, {}), None) if anonymous else None

    lines = sent((spelling.format(what), "root"), (spelling.format(what), "root2"), admit=admit)

    assert not any("root" in line for line in lines)


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix",
        "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Server", "X-Forwarded-User", "X-Real-IP",
        "X-Original-URL",
        "X-Rewrite-URL", "Forwarded", "True-Client-IP", "X_Forwarded_For", "X-HTTP-Method-Override", "X-Gateway-Debug",
        "X-Request-Id",
    ],
)  # fmt: skip
def test_t05_t07_the_forwarded_family_and_our_own_names_are_written_by_us_alone(name: str) -> None:
    lines = sent((name, "spoofed"))

    assert not any("spoofed" in line for line in lines)


def test_t05_the_forwarded_family_is_rebuilt_from_what_we_know() -> None:
    lines = sent(peer="10.0.0.1", client="2001:db8::7")

    assert named(lines, "X-Forwarded-For") == ["2001:db8::7, 10.0.0.1"]
    assert named(lines, "X-Real-IP") == ["2001:db8::7"]
    assert named(lines, "X-Forwarded-Proto") == ["https"]
    assert named(lines, "X-Forwarded-Host") == ["app.example.com"]
    assert named(lines, "X-Forwarded-Port") == ["443"]
    assert named(lines, "Forwarded") == ['for="[2001:db8::7]";proto=https;host="app.example.com"']


@pytest.mark.parametrize(
    "connection",
    ["close, X-Own", "X-OWN", "x-own , keep-alive", "keep-alive, x-auth-subject, host, X-Own"],
)
def test_t06_what_connection_names_stays_behind_and_ours_does_not(connection: str) -> None:
    lines = sent(("Connection", connection), ("X-Own", "hop"), ("X-Kept", "1"))

    assert named(lines, "X-Own") == []
    assert named(lines, "Connection") == []
    assert named(lines, "X-Kept") == ["1"]
    assert named(lines, "X-Auth-Subject") == ["U2ada"]
    assert named(lines, "Host") == ["app.example.com"]


@pytest.mark.parametrize(
    "name", ["Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Authorization", "Proxy-Connection"]
)
def test_t06_hop_by_hop_headers_stay_behind(name: str) -> None:
    assert named(sent((name, "x")), name) == []


def test_f1_values_travel_as_the_bytes_that_came() -> None:
    assert "X-Odd: ad\xa0min" in sent(("X-Odd", "ad\xa0min"))


def test_what_is_empty_is_absent_and_values_are_encoded() -> None:
    lines = sent()
    bare = replace(ADA, claims={}, project=Grants(), selected_tenant=None)
    empty = sent(admit=Admit(Match(ROUTE, {}), bare))

    assert named(lines, "X-Auth-Subject") == ["U2ada"]
    assert named(lines, "X-Auth-Email") == ["ada@example.com"]
    assert named(lines, "X-Auth-Name") == ["Ada Lovelace %C3%A9"]
    assert named(lines, "X-Auth-Roles") == ["admin,a%2Cb"]
    assert named(lines, "X-Auth-Permissions") == ["docs.read"]
    assert named(lines, "X-Auth-Tenant") == ["acme"]
    assert named(lines, "X-Auth-Method") == ["session"]
    assert [line.split(":")[0] for line in empty if line.startswith("X-Auth-")] == ["X-Auth-Subject", "X-Auth-Method"]


@pytest.mark.parametrize(
    ("sent_as", "shown"),
    [
        ("a%b", "a%25b"),
        ("a,b", "a%2Cb"),
        ("a\tb", "a%09b"),
        ("a\x7fb", "a%7Fb"),
        ("a\r\nb", "a%0D%0Ab"),
        ("é", "%C3%A9"),
    ],
    ids=["percent", "comma", "tab", "delete", "line break", "not ASCII"],
)
def test_t08_one_odd_character_anywhere_is_enough_to_be_encoded(sent_as: str, shown: str) -> None:
    plain = replace(ADA, claims={}, project=Grants(("x", "y")), selected_tenant=None)
    named_so = replace(plain, claims={"name": sent_as})
    granted_so = replace(plain, project=Grants(("x", sent_as, "y")))

    assert named(sent(admit=Admit(Match(ROUTE, {}), named_so)), "X-Auth-Name") == [shown]
    assert named(sent(admit=Admit(Match(ROUTE, {}), granted_so)), "X-Auth-Roles") == [f"x,{shown},y"]


def test_roles_are_those_of_the_tenant_decided_by() -> None:
    route = replace(ROUTE, tenant_from=ConstantTenant("acme"))

    lines = sent(route=route)

    assert named(lines, "X-Auth-Roles") == ["editor"]
    assert named(lines, "X-Auth-Permissions") == ["docs.write"]


def test_remembered_lines_are_those_of_the_tenant_and_the_token_at_hand() -> None:
    asked = facts(("Accept", "*/*"))
    by_tenant = replace(ROUTE, tenant_from=ConstantTenant("acme"))
    admits = [
        Admit(Match(ROUTE, {}), ADA, "acme"),
        Admit(Match(by_tenant, {}), ADA, "acme"),
        Admit(Match(ROUTE, {}), ADA, "globex"),
        Admit(Match(ROUTE, {}), replace(ADA, project=Grants(("guest",)), digest=b"later"), "acme"),
        Admit(Match(ROUTE, {}), replace(ADA, kind=Kind.ACCESS_KEY), "acme"),
        Admit(Match(ROUTE, {}), ADA, "acme", Person("other@example.com", "")),
    ]

    writers = [RequestWriter(route, CookieRules(), PROJECT) for route in (ROUTE, by_tenant)]

    for _ in range(2):
        for admit in admits:
            writer = writers[admit.match.route is by_tenant]
            anew = writer.lines(replace(asked, kept=Kept()), admit, "id1")
            assert writer.lines(asked, admit, "id1") == anew
            assert admit.identity is not None
            assert anew.text.endswith(Told().after(Lines(b""), admit.identity, admit).text + b"X-Request-Id: id1\r\n")


def test_a_key_says_which_it_is() -> None:
    worker = replace(ADA, kind=Kind.ACCESS_KEY, subject="K2worker")

    lines = sent(admit=Admit(Match(ROUTE, {}), worker))

    assert (named(lines, "X-Auth-Method"), named(lines, "X-Auth-Key-Id")) == (["access_key"], ["K2worker"])


def test_a_profile_fills_in_what_the_token_lacks_and_nothing_else() -> None:
    bare = replace(ADA, claims={"email": "from-token@example.com"})
    person = Person("asked@example.com", "Asked For")

    lines = sent(admit=Admit(Match(ROUTE, {}), bare, person=person))

    assert named(lines, "X-Auth-Email") == ["from-token@example.com"]
    assert named(lines, "X-Auth-Name") == ["Asked For"]


@given(st.text())
def test_t08_no_claim_can_break_out_of_its_header(text: str) -> None:
    value = spelt(text)

    assert all(" " <= character <= "~" and character != "," for character in value)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_an_encoded_value_decodes_to_what_it_was(text: str) -> None:
    assert unquote(spelt(text), errors="strict") == text


# --- credentials never travel on -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "header", "arrives"),
    [
        pytest.param(Auth.SESSION, ("Authorization", f"Bearer {OURS}"), False, id="our token"),
        pytest.param(Auth.SESSION, ("Authorization", f"bEaReR  {OURS}"), False, id="our token, odd scheme"),
        pytest.param(Auth.PUBLIC, ("Authorization", f"Bearer {OURS}"), False, id="our token on a public route"),
        pytest.param(Auth.SESSION, ("X-API-Key", OURS), False, id="our token as a key"),
        pytest.param(Auth.SESSION, ("Authorization", f"Bearer {OURS}=="), False, id="our token, padded"),
        pytest.param(Auth.PUBLIC, ("Authorization", f"Bearer\t{OURS}"), False, id="our token behind a tab"),
        pytest.param(Auth.PUBLIC, ("Authorization", f"Bearer,{OURS}"), False, id="our token behind a comma"),
        pytest.param(Auth.PUBLIC, ("Authorization", f"Custom x {OURS}"), False, id="our token under another scheme"),
        pytest.param(Auth.SESSION, ("Authorization", f"Bearer {OURS}{'x' * 20_000}"), False, id="our token, huge"),
        pytest.param(Auth.SESSION, ("Authorization", f"Bearer {FOREIGN}"), True, id="a foreign token"),
        pytest.param(Auth.SESSION, ("Authorization", "Bearer opaque"), True, id="opaque on a session route"),
        pytest.param(Auth.SESSION, ("Authorization", "Basic YTpi"), True, id="basic"),
        pytest.param(Auth.SESSION, ("X-API-Key", "theirs"), True, id="the upstream's own key"),
        pytest.param(Auth.ANY, ("Authorization", "Bearer opaque"), False, id="opaque on a key route"),
        pytest.param(Auth.ANY, ("X-API-Key", "key"), False, id="key on a key route"),
        pytest.param(Auth.ACCESS_KEY, ("X_API_Key", "key"), False, id="folded key"),
        pytest.param(Auth.ANY, ("Authorization", "Basic YTpi"), True, id="basic on a key route"),
    ],
)
def test_t14_our_credentials_stay_here_and_the_upstreams_go_on(
    auth: Auth, header: tuple[str, str], arrives: bool
) -> None:
    lines = sent(header, route=replace(ROUTE, auth=auth))

    assert any(header[1].split()[-1] in line for line in lines) is arrives


def test_our_cookies_are_taken_out_and_the_others_stay_as_they_were() -> None:
    lines = sent(("Cookie", f"a=1; DS={OURS}; DS.1=x;  b = 2; DSR=y"), ("Cookie", "DS=only"))

    assert named(lines, "Cookie") == ["a=1;  b = 2"]


def test_forward_token_sends_the_verified_session_and_nothing_in_its_place() -> None:
    admit = Admit(Match(ROUTE, {}), ADA, token=OURS)
    bearer = replace(ROUTE, upstream=replace(LEGACY, forward_token=ForwardToken.BEARER))
    cookie = replace(ROUTE, upstream=replace(LEGACY, forward_token=ForwardToken.COOKIE))

    by_bearer = sent(("Authorization", "Basic YTpi"), route=bearer, admit=replace(admit, match=Match(bearer, {})))
    by_cookie = sent(("Cookie", "a=1; DSR=y"), route=cookie, admit=replace(admit, match=Match(cookie, {})))

    assert named(by_bearer, "Authorization") == [f"Bearer {OURS}"]
    assert named(by_cookie, "Cookie") == [f"a=1; DS={OURS}"]


def test_a_routes_rules_remove_and_set_in_every_spelling() -> None:
    rules = HeaderRules(
        set=(("X-Job-Caller", Template(("by ", " in ", ""), ("identity.subject", "path.tenant"))),),
        remove=frozenset({b"x-secret"}),
    )
    route = replace(ROUTE, header_rules=rules)

    lines = sent(("X-Secret", "1"), ("X_Secret", "2"), ("x_job_caller", "root"), ("X-Job-Caller", "root"), route=route)

    assert not any("ecret" in line or "root" in line for line in lines)
    assert named(lines, "X-Job-Caller") == ["by U2ada in acme"]


def test_host_is_the_clients_or_the_upstreams_own() -> None:
    own = replace(ROUTE, upstream=replace(LEGACY, keep_host=False))

    assert named(sent(), "Host") == ["app.example.com"]
    assert named(sent(route=own), "Host") == ["legacy.internal:9000"]


# --- what is kept of a block of headers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"client": "198.51.100.7"},
        {"scheme": "http"},
        {"peer": "198.51.100.7"},
        {"identity": BOB},
        {"tenant": "other"},
        {"person": Person("ada@example.com", "Ada")},
    ],
    ids=lambda other: next(iter(other)),
)
def test_t03_lines_kept_for_one_caller_are_not_anothers(other: dict[str, Any]) -> None:
    writer = RequestWriter(ROUTE, CookieRules(), PROJECT)
    before = facts(("Accept", "*/*"))
    admit = Admit(Match(ROUTE, {}), replace(ADA, claims={}), "acme")
    first = writer.lines(before, admit, "id1")
    about = {name: value for name, value in other.items() if name in ("client", "scheme", "peer")}
    more = {name: value for name, value in other.items() if name not in about}

    after, then = replace(before, **about), replace(admit, **more)
    second, anew = writer.lines(after, then, "id1"), writer.lines(replace(after, kept=Kept()), then, "id1")

    assert after.kept is before.kept
    assert second == anew != first


def test_lines_that_are_kept_carry_the_id_of_each_request() -> None:
    writer, asked = RequestWriter(ROUTE, CookieRules(), PROJECT), facts(("Accept", "*/*"))
    admit = Admit(Match(ROUTE, {}), ADA, "acme")

    texts = [writer.lines(asked, admit, request_id).text for request_id in ("id1", "id2")]

    assert [text.count(b"X-Request-Id: id%d\r\n" % n) for n, text in enumerate(texts, 1)] == [1, 1]


def test_t18_lines_are_kept_for_few_routes() -> None:
    asked, admit = facts(("Accept", "*/*")), Admit(Match(ROUTE, {}), ADA, "acme")

    for _ in range(100):
        RequestWriter(ROUTE, CookieRules(), PROJECT).lines(asked, admit, "id1")

    assert len(asked.kept.heads) <= 8


@pytest.mark.parametrize("line", ["X: a\r\nY: b", "X: a\nb", "X: a\rb", "X: a\0b"], ids=repr)
def test_t08_no_line_holds_another(line: str) -> None:
    name, _, value = line.partition(": ")

    with pytest.raises(ValueError, match="line break"):
        Lines.of([b"Host: h", line.encode()])
    with pytest.raises(ValueError, match="control character"):
        Lines.of([b"Host: h"]).and_one(name, value)

    with pytest.raises(ValueError, match="line break"):
        Lines.of([b"Host: h"]).and_more(line.encode() + b"\r\n", 1)

    assert Lines.of([b"Host: h"]).and_one("X", "a").text == b"Host: h\r\nX: a\r\n"
    assert Lines.of([b"Host: h"]).and_more(b"X: a\r\nY: b\r\n", 2).text == b"Host: h\r\nX: a\r\nY: b\r\n"


# --- replies -------------------------------------------------------------------------------------------------------


def returned(*headers: tuple[str, str], route: Route = ROUTE, **additions: object) -> list[str]:
    writer = ReplyWriter(route, CookieRules())
    more = ReplyAdditions("id1", **additions)  # type: ignore[arg-type]  # the tests' own shorthand
    return [line.decode("latin-1") for line in writer.lines(lines_of(*headers), more)]


@pytest.mark.parametrize("name", ["DS", "DSR", "DS.1", "DSR.3", "__Host-gateway-state", "__host-GATEWAY"])
def test_t26_an_upstream_cannot_set_our_cookies(name: str) -> None:
    planted = [f"{name}=evil; Path=/", f" {name} =evil", f"={name}=evil", f" = {name}=evil"]
    lines = returned(*(("Set-Cookie", value) for value in planted), ("Set-Cookie", "own=1"))

    assert named(lines, "Set-Cookie") == ["own=1"]


@pytest.mark.parametrize("name", ["Clear-Site-Data", "X-Auth-Assertion", "X-Auth-Subject", "Connection", "Keep-Alive"])
def test_t26_what_an_upstream_may_not_say_is_left_out(name: str) -> None:
    assert named(returned((name, "x")), name) == []


def test_t06_what_the_upstreams_connection_names_stays_behind() -> None:
    assert named(returned(("Connection", "close, X-Hop"), ("X-Hop", "1"), ("X-Kept", "2")), "X-Hop") == []


@pytest.mark.parametrize("name", ["Set-Cookie", "Cache-Control", "X-Hop"])
def test_what_a_reply_names_in_connection_stays_on_its_connection(name: str) -> None:
    lines = returned((name, "x=1"), ("Connection", f"close, {name}"), ("X-Kept", "1"))

    assert (named(lines, name), named(lines, "X-Kept")) == ([], ["1"])


def test_a_reply_with_our_cookies_is_stored_by_nobody() -> None:
    lines = returned(("Cache-Control", "public, max-age=60"), cookies=(b"DS=new",))

    assert named(lines, "Cache-Control") == ["no-store"]
    assert named(lines, "Set-Cookie") == ["DS=new"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (b"public, max-age=60", b"max-age=60, private"),
        (b"s-maxage=600", b"private"),
        (b"max-age=60", b"max-age=60"),
        (b"no-store, public", b"no-store"),
        (b"Public", b"private"),
        (b"private, s-maxage=1", b"private"),
    ],
)
def test_t26_no_shared_cache_stores_what_one_caller_got(said: bytes, kept: bytes) -> None:
    assert kept_private(said) == kept
    assert named(returned(("Cache-Control", said.decode())), "Cache-Control") == [kept.decode()]
    public = replace(ROUTE, auth=Auth.PUBLIC)
    assert named(returned(("Cache-Control", said.decode()), route=public), "Cache-Control") == [said.decode()]


def test_the_limits_of_a_route_are_told_once() -> None:
    limited = replace(ROUTE, limits=(Limit("one", Rate(NS_PER_S, 1), Per.CLIENT),))

    lines = returned(("RateLimit", "theirs"), route=limited, ratelimit=((b"RateLimit", b"ours"),))

    assert named(lines, "RateLimit") == ["ours"]


def test_a_route_with_cors_says_it_instead_of_the_upstream() -> None:
    route = replace(ROUTE, cors=Cors(("https://partner.example",)))

    lines = returned(
        ("Access-Control-Allow-Origin", "*"), route=route, cors=((b"Access-Control-Allow-Origin", b"https://partner"),)
    )

    assert named(lines, "Access-Control-Allow-Origin") == ["https://partner"]
    assert named(returned(("Access-Control-Allow-Origin", "*")), "Access-Control-Allow-Origin") == ["*"]
