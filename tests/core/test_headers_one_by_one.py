"""Every single name that is taken out, and every single value that is encoded: none is covered by its neighbours."""

from dataclasses import replace

import pytest

from gateway.core.facts import gather, read_block
from gateway.core.headers import ReplyAdditions, ReplyWriter, RequestWriter, is_ours, spelt
from gateway.core.model import (
    Admit,
    Auth,
    CookieRules,
    Grants,
    HeaderRules,
    HeadLimits,
    Identity,
    IdentityHeaders,
    Kind,
    Match,
    Person,
    RequestFacts,
    Route,
    ServerRules,
    Template,
    Upstream,
)

PROJECT = "P2demo0000000000000000000000"
ROUTE = Route("r", "/**", Upstream("legacy", "legacy.internal:9000", "legacy.internal", 9000))
ODD = "a,b%c"
ODD_SPELT = "a%2Cb%25c"
BOB = Identity(
    kind=Kind.SESSION,
    subject="U2bob",
    issued_at_s=0,
    not_before_s=0,
    expires_at_s=1,
    project=Grants(),
    tenants=None,
    selected_tenant=None,
    claims={},
    digest=b"",
)


def facts(*headers: tuple[str, str]) -> RequestFacts:
    gathered = gather(
        method="GET",
        raw_target=b"/x",
        version=(1, 1),
        block=read_block(
            ((b"Host", b"app.example.com"), *((n.encode(), v.encode("latin-1")) for n, v in headers)),
            HeadLimits(),
        ),
        peer="203.0.113.9",
        server=ServerRules(("https://app.example.com",)),
    )
    assert isinstance(gathered, RequestFacts), gathered
    return gathered


def sent(*headers: tuple[str, str], route: Route = ROUTE, admit: Admit | None = None) -> list[str]:
    writer = RequestWriter(route, CookieRules(), PROJECT)
    lines = writer.lines(facts(*headers), admit or Admit(Match(route, {}), None), "id1")
    return lines.text.decode("latin-1").split("\r\n")[:-1]


def returned(*headers: tuple[str, str]) -> list[str]:
    lines = [(name.lower().encode(), name.encode(), value.encode()) for name, value in headers]
    writer = ReplyWriter(ROUTE, CookieRules())
    return [line.decode("latin-1") for line in writer.lines(lines, ReplyAdditions("id1"))]


def values(lines: list[str], name: str) -> list[str]:
    return [line.partition(": ")[2] for line in lines if line.partition(": ")[0].lower() == name.lower()]


@pytest.mark.parametrize(
    "name",
    [
        "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer",
        "Upgrade", "HTTP2-Settings", "Forwarded", "X-Real-IP", "X-Original-URL", "X-Rewrite-URL", "X-Original-URI",
        "X-Original-Method", "X-Client-IP", "X-Cluster-Client-IP", "True-Client-IP", "CF-Connecting-IP",
        "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "Expect", "X-Request-Id", "X_Host",
    ],
)  # fmt: skip
@pytest.mark.parametrize("sign", ["-", "_", "."])
def test_t05_t06_t07_each_name_is_taken_out_in_every_spelling(name: str, sign: str) -> None:
    spelling = name.replace("-", sign)

    arrived = any("spoofed" in line for line in sent((spelling, "spoofed")))

    assert arrived is (name == "X_Host")  # only like one of ours, and none


def test_t17_neither_host_nor_length_of_the_client_stands_beside_ours() -> None:
    lines = sent(("Content-Length", "5"))

    assert values(lines, "Content-Length") == []
    assert values(lines, "Host") == ["app.example.com"]
    assert values(sent(("Transfer-Encoding", "chunked")), "Transfer-Encoding") == []


@pytest.mark.parametrize("name", [b"x-auth-subject", b"x_auth_subject", b"x.auth.subject", b"x_real.ip", b"expect"])
def test_t04_a_name_of_ours_is_ours_in_every_spelling(name: bytes) -> None:
    assert is_ours(name)
    assert not is_ours(b"x-own")


@pytest.mark.parametrize("written", [b"x-secret", b"x_secret", b"x.secret"])
def test_a_name_to_remove_is_meant_in_every_spelling(written: bytes) -> None:
    route = replace(ROUTE, header_rules=HeaderRules(remove=frozenset({written})))

    lines = sent(("X-Secret", "1"), ("X_Secret", "2"), ("x.secret", "3"), route=route)

    assert not any("ecret" in line for line in lines)


def test_t18_the_memory_of_names_is_bounded() -> None:
    writer = RequestWriter(ROUTE, CookieRules(), PROJECT)
    admit = Admit(Match(ROUTE, {}), None)

    for start in range(0, 6000, 150):
        writer.lines(facts(*((f"X-{number}", "1") for number in range(start, start + 150))), admit, "id1")

    assert len(writer._fates) <= 4096
    assert "X-Late: 1" in writer.lines(facts(("X-Late", "1")), admit, "id1").text.decode().split("\r\n")


@pytest.mark.parametrize("name", ["Cookie", "Authorization", "X-API-Key"])
def test_t06_a_credential_that_connection_names_stays_behind(name: str) -> None:
    assert values(sent((name, "theirs")), name) == ["theirs"]
    assert values(sent((name, "theirs"), ("Connection", name)), name) == []


@pytest.mark.parametrize("value", ["bEaReR opaque", "BEARER opaque", "Basic YTpi, Bearer opaque"])
def test_t14_a_key_behind_any_spelling_of_bearer_stays_here_where_keys_are_taken(value: str) -> None:
    taking = replace(ROUTE, auth=Auth.ANY)

    assert values(sent(("Authorization", value), route=taking), "Authorization") == []
    assert values(sent(("Authorization", value)), "Authorization") == [value]


# --- other names for who calls ---------------------------------------------------------------------------------------

RENAMED = replace(
    ROUTE,
    upstream=replace(
        ROUTE.upstream,
        identity_headers=IdentityHeaders(
            (
                ("subject", "Remote-User"),
                ("roles", "remote_groups"),
                ("username", "X-Login"),
                ("method", "X-Auth-Method"),
            ),
            frozenset({b"remote-user", b"remote-groups", b"x-login", b"remote-email"}),
        ),
    ),
)


@pytest.mark.parametrize("name", ["Remote-User", "Remote-Groups", "X-Login", "Remote-Email"])
@pytest.mark.parametrize("sign", ["-", "_", "."])
@pytest.mark.parametrize("identity", [None, BOB], ids=["nobody", "somebody"])
def test_t04_names_that_an_upstream_believes_are_taken_out(name: str, sign: str, identity: Identity | None) -> None:
    spelling = name.replace("-", sign)
    odd = ((spelling, "root"), (spelling.lower(), "root"), (spelling.upper(), "root"))

    lines = sent(*odd, route=RENAMED, admit=Admit(Match(RENAMED, {}), identity))

    assert not any("root" in line for line in lines)
    assert len([line for line in sent(*odd) if "root" in line]) == 3


def test_an_upstream_is_told_under_the_names_that_it_knows() -> None:
    odd = replace(BOB, project=Grants((ODD, "x")), claims={"preferred_username": ODD, "email": "bob@example.com"})

    lines = sent(route=RENAMED, admit=Admit(Match(RENAMED, {}), odd))

    assert values(lines, "Remote-User") == ["U2bob"]
    assert values(lines, "remote_groups") == [f"{ODD_SPELT},x"]
    assert values(lines, "X-Login") == [ODD_SPELT]
    assert values(lines, "X-Auth-Method") == ["session"]
    assert not any("bob@example.com" in line for line in lines)


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100%41", "100%2541"),
        ("a,b", "a%2Cb"),
        ("a\r\nX: y", "a%0D%0AX: y"),
        ("\x00\x7f", "%00%7F"),
        ("é", "%C3%A9"),
        ("{sub} $x", "{sub} $x"),
    ],
    ids=["percent", "comma", "line end", "controls", "letter", "template"],
)
def test_t08_a_value_is_spelt_so_that_it_reads_back(text: str, value: str) -> None:
    assert spelt(text) == value


def test_t08_every_identity_header_is_spelt() -> None:
    odd = replace(
        BOB,
        kind=Kind.ACCESS_KEY,
        subject=ODD,
        project=Grants((ODD, "x"), (ODD, "y")),
        claims={"email": ODD, "name": ODD},
    )

    lines = sent(admit=Admit(Match(ROUTE, {}), odd, tenant=ODD))

    told = {line.partition(": ")[0]: line.partition(": ")[2] for line in lines if line.startswith("X-Auth-")}
    assert told == {
        "X-Auth-Subject": ODD_SPELT,
        "X-Auth-Email": ODD_SPELT,
        "X-Auth-Name": ODD_SPELT,
        "X-Auth-Roles": f"{ODD_SPELT},x",
        "X-Auth-Permissions": f"{ODD_SPELT},y",
        "X-Auth-Tenant": ODD_SPELT,
        "X-Auth-Method": "access_key",
        "X-Auth-Key-Id": ODD_SPELT,
    }


def test_t08_a_profile_is_spelt_like_a_claim() -> None:
    lines = sent(admit=Admit(Match(ROUTE, {}), BOB, person=Person(email=ODD, name=ODD)))

    assert values(lines, "X-Auth-Email") == values(lines, "X-Auth-Name") == [ODD_SPELT]


@pytest.mark.parametrize("claim", [7, True, ["a@example.com"], {"a": 1}, None], ids=str)
def test_t08_a_claim_of_another_type_is_no_text(claim: object) -> None:
    lines = sent(admit=Admit(Match(ROUTE, {}), replace(BOB, claims={"email": claim, "name": claim})))

    assert values(lines, "X-Auth-Email") == values(lines, "X-Auth-Name") == []


@pytest.mark.parametrize(
    ("claim", "value"),
    [("a,b", "a%2Cb"), (7, "7"), (["x"], None), ({"x": 1}, None), (None, None), (0.5, None)],
    ids=["text", "number", "list", "object", "null", "fraction"],
)
def test_t08_a_hole_is_filled_with_a_plain_claim_that_is_spelt(claim: object, value: str | None) -> None:
    rules = HeaderRules(set=(("X-Plan", Template(("", ""), ("identity.claims.plan",))),))
    route = replace(ROUTE, header_rules=rules)

    lines = sent(route=route, admit=Admit(Match(route, {}), replace(BOB, claims={"plan": claim})))

    assert values(lines, "X-Plan") == ([value] if value is not None else [])


# --- replies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Trailer", "Transfer-Encoding", "Upgrade",
        "Clear-Site-Data", "X-Auth-Assertion", "X_Auth_Assertion", "x.auth.roles", "Content-Length", "X-Request-Id",
    ],
)  # fmt: skip
def test_t26_each_line_that_an_upstream_may_not_write_is_left_out(name: str) -> None:
    assert not any("theirs" in line for line in returned((name, "theirs")))


@pytest.mark.parametrize(
    "value", ["DS=evil", " DS =evil", "=DS=evil", "DS.3=evil", "\tDSR\t= evil", "__HOST-gateway=x"]
)
def test_t26_a_cookie_that_comes_back_as_ours_is_not_set(value: str) -> None:
    lines = returned(("Set-Cookie", value), ("Set-Cookie", "own=1"))

    assert values(lines, "Set-Cookie") == ["own=1"]
