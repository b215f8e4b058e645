"""The route file: what each key becomes, and every way to get it wrong, told at its line and column.

In the tables of mistakes a `§` stands right before the place that the message must name.
"""

import json
import textwrap
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ConfigError
from gateway.core.model import (
    AccessKeyRules,
    AssertionRules,
    Auth,
    ClaimHeld,
    ClientWithin,
    ConstantTenant,
    CookieRules,
    Cors,
    ExchangeOptions,
    ForwardToken,
    HeaderRules,
    HostLabel,
    KeyIdIn,
    Limit,
    Match,
    PathCapture,
    Per,
    PermissionsHeld,
    Rate,
    Reason,
    RefreshRules,
    RolesHeld,
    Route,
    SelectedTenant,
    ServerRules,
    ShutdownRules,
    StreamRules,
    Target,
    Template,
    TenantSource,
    Timeouts,
    TokenRules,
    Upstream,
    Wanted,
)
from gateway.core.signin import LoginRules
from gateway.routefile import Config, Expectation, load, parse, schema

CONFIG = Path(__file__).parent.parent / "config"
PROJECT = "P2demo0000000000000000000000"


def text(
    *,
    version: str = "version: 1",
    descope: str = "{project_id: P2demo0000000000000000000000}",
    server: str = '{public_urls: ["http://localhost:8080"], cookies: {secure: false}}',
    upstreams: str = '{legacy: {url: "http://127.0.0.1:9000"}}',
    limits: str = "{person: {rate: 20/s, per: subject}, address: {rate: 20/s, per: client}}",
    match: str = "{path: /x}",
    upstream: str = "upstream: legacy",
    route: str = "",
    routes: str = "",
    more: str = "",
) -> str:
    """A route file that is right but for what a test says."""
    one = f"- id: it\n  match: {match}\n  {upstream}\n{textwrap.indent(textwrap.dedent(route).strip(), '  ')}"
    return "\n".join(
        [
            version,
            f"descope: {descope}",
            f"server: {server}",
            f"upstreams: {upstreams}",
            f"limits: {limits}",
            f"routes:\n{one}\n{textwrap.dedent(routes).strip()}",
            textwrap.dedent(more).strip(),
            "",
        ]
    )


def read(written: str, environment: Mapping[str, str] | None = None) -> Config:
    return parse(written, "routes.yaml", environment or {})


def only_route(**parts: str) -> Route:
    routes = read(text(**parts)).table.routes
    assert len(routes) == 1
    return routes[0]


def problems(written: str, environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as failed:
        read(written, environment)
    return failed.value.problems


def marked(written: str) -> tuple[str, list[str]]:
    """The text without its `§`, and "line:column" of each of them."""
    places = []
    while "§" in written:
        before, _, after = written.partition("§")
        places.append(f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}")
        written = before + after
    return written, places


# --- what keys become -------------------------------------------------------------------------------------------------


def test_the_least_file_has_the_documented_defaults() -> None:
    config = read(
        text(server='{public_urls: ["https://app.example.com"]}', limits="{}", descope=f"{{project_id: {PROJECT}}}")
    )

    legacy = Upstream(name="legacy", authority="127.0.0.1:9000", address="127.0.0.1", port=9000)
    assert config == Config(
        tokens=TokenRules(PROJECT),
        base_url="",
        server=ServerRules(("https://app.example.com",)),
        login=LoginRules(),
        refresh=RefreshRules(30.0, 30.0),
        access_keys=AccessKeyRules(60.0, 300.0),
        assertion=AssertionRules("https://app.example.com"),
        shutdown=ShutdownRules(0.0, 15.0),
        table=config.table,
        upstreams=(legacy,),
        limits=(),
        version=config.version,
    )
    assert config.table.routes == (Route(id="it", path="/x", upstream=legacy),)
    assert config.table.routes[0].auth is Auth.SESSION


def test_the_sections_are_read() -> None:
    config = read(
        text(
            descope=f'{{project_id: {PROJECT}, base_url: "http://127.0.0.1:8200/", audience: [mine]}}',
            server="""
  public_urls: ["HTTPS://App.Example.com:443", "http://localhost:8080"]
  hosts: [App.example.com, localhost]
  trusted_proxies: [10.0.0.0/8, "::1"]
  cookies: {session: S, refresh: R, secure: true, same_site: strict, path: /}""",
            more="""
            login: {url: "https://login.example.com/in?x=1"}
            refresh: {grace: 500ms, ahead: 1m}
            access_keys: {remember: 2m, max_stale: 1h}
            shutdown: {delay: 5s, grace: 1m}
            """,
        )
    )

    assert config.tokens == TokenRules(PROJECT, ("mine",), refresh_names=("DSR", "R"))
    assert config.base_url == "http://127.0.0.1:8200"
    assert config.server == ServerRules(
        public_urls=("https://app.example.com", "http://localhost:8080"),
        hosts=frozenset({"app.example.com", "localhost"}),
        trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("::1/128")),
        cookies=CookieRules("S", "R", True, "strict", "", "/"),
    )
    assert config.login.url == "https://login.example.com/in?x=1"
    assert config.refresh == RefreshRules(0.5, 60.0)
    assert config.access_keys == AccessKeyRules(120.0, 3600.0)
    assert config.shutdown == ShutdownRules(5.0, 60.0)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param(
            '{url: "http://Legacy:80/app/"}',
            Upstream(name="legacy", authority="legacy", address="legacy", port=80, base_path="/app"),
            id="a base path, the scheme's own port",
        ),
        pytest.param(
            '{url: "https://legacy.internal"}',
            Upstream(name="legacy", authority="legacy.internal", address="legacy.internal", port=443, tls=True),
            id="https",
        ),
        pytest.param(
            '{url: "http://[::1]:9000"}',
            Upstream(name="legacy", authority="[::1]:9000", address="::1", port=9000),
            id="IPv6",
        ),
        pytest.param(
            '{url: "unix:/run/app.sock", host: upstream}',
            Upstream(name="legacy", authority="localhost", socket_path="/run/app.sock", keep_host=False),
            id="a Unix socket",
        ),
        pytest.param(
            '{url: "http://legacy:9000", retry_after: hold, forward_token: cookie, profile: true}',
            Upstream(
                name="legacy",
                authority="legacy:9000",
                address="legacy",
                port=9000,
                hold_on_retry_after=True,
                forward_token=ForwardToken.COOKIE,
                profile=True,
            ),
            id="every option",
        ),
        pytest.param(
            '{url: "http://legacy:9000", forward_token: false, host: preserve, retry_after: pass}',
            Upstream(name="legacy", authority="legacy:9000", address="legacy", port=9000),
            id="every default written out",
        ),
    ],
)
def test_an_upstream_is_read(written: str, expected: Upstream) -> None:
    assert only_route(upstreams=f"{{legacy: {written}}}").upstream == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param("rate: 20/s, per: client", Limit("it", Rate(50_000_000, 20), Per.CLIENT), id="a second"),
        pytest.param(
            "rate: 100/m, burst: 5, per: tenant", Limit("it", Rate(600_000_000, 5), Per.TENANT), id="a minute"
        ),
        pytest.param(
            "rate: 7/h, per: access_key",
            Limit("it", Rate(514_285_714_286, 7), Per.ACCESS_KEY),
            id="an hour, the period rounded up",
        ),
    ],
)
def test_a_limit_is_read(written: str, expected: Limit) -> None:
    assert read(text(limits=f"{{it: {{{written}}}}}")).limits == (expected,)


def test_a_route_with_every_key_is_read() -> None:
    route = only_route(
        upstreams='{legacy: {url: "http://127.0.0.1:9000"}}',
        match='{host: "*.Example.com", path: "/jobs/{job}/**", methods: [POST, PUT]}',
        route="""
        auth: any
        require:
          roles: {any: [worker], all: [a, b]}
          permissions: {all: [run]}
          tenant: "{host.label.0}"
          claims: {plan: {any: [pro, 3, true]}}
          clients: [10.0.0.0/8]
          key_ids: [K2a, K2b]
        limit: [person, address, person]
        timeouts: {response: 2m}
        stream: {revalidate: 5s}
        max_body: 64KiB
        rewrite: {strip_prefix: /jobs}
        headers:
          set: {X-Job: "{{{path.job}}} of {identity.subject}"}
          remove: [Cookie, X-Old]
        cors: {origins: ["https://Other.com:443"], methods: [GET], headers: [X-A], credentials: true, max_age: 1h}
        access_keys: {claims: {b: [1, {d: 2, c: x}], a: true}, tenant: acme}
        """,
    )

    assert route == Route(
        id="it",
        path="/jobs/{job}/**",
        upstream=Upstream(name="legacy", authority="127.0.0.1:9000", address="127.0.0.1", port=9000),
        host="*.example.com",
        methods=frozenset({"POST", "PUT"}),
        auth=Auth.ANY,
        tenant_from=HostLabel(0),
        conditions=(
            ClientWithin((ip_network("10.0.0.0/8"),)),
            KeyIdIn(frozenset({"K2a", "K2b"})),
            RolesHeld(Wanted(any=("worker",), all=("a", "b"))),
            PermissionsHeld(Wanted(all=("run",))),
            ClaimHeld("plan", any=("pro", 3, True)),
        ),
        limits=(
            Limit("person", Rate(50_000_000, 20), Per.SUBJECT),
            Limit("address", Rate(50_000_000, 20), Per.CLIENT),
        ),
        timeouts=Timeouts(2.0, 120.0, 60.0),
        stream=StreamRules(600.0, 5.0, 28_800.0),
        max_body_bytes=65_536,
        strip_prefix="/jobs",
        header_rules=HeaderRules(
            set=(("X-Job", Template(("{", "} of ", ""), ("path.job", "identity.subject"))),),
            remove=frozenset({b"cookie", b"x-old"}),
        ),
        cors=Cors(("https://other.com",), ("GET",), ("X-A",), True, 3600),
        exchange=ExchangeOptions('{"a":true,"b":[1,{"c":"x","d":2}]}', "acme"),
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param('"{path.t}"', PathCapture("t"), id="a capture"),
        pytest.param('"{host.label.1}"', HostLabel(1), id="a label of the host"),
        pytest.param("acme", ConstantTenant("acme"), id="a constant"),
        pytest.param("selected", SelectedTenant(), id="the selected one"),
    ],
)
def test_a_tenant_is_read_from_where_it_is_said(written: str, expected: TenantSource) -> None:
    route = only_route(match='{path: "/{t}", host: app.example.com}', route=f"require: {{tenant: {written}}}")

    assert route.tenant_from == expected


def test_defaults_stand_in_and_a_route_says_otherwise() -> None:
    config = read(
        text(
            route="""
            limit: [address]
            timeouts: {connect: 1s}
            stream: {max_age: 1h}
            max_body: 1MiB
            headers: {set: {x-both: mine}, remove: [X-Gone]}
            cors: {origins: []}
            """,
            routes="""
            - {id: plain, match: {path: /plain}, upstream: legacy}
            - {id: open, match: {path: /open}, auth: public, upstream: legacy}
            - {id: free, match: {path: /free}, limit: [], upstream: legacy}
            """,
            more="""
            defaults:
              timeouts: {connect: 5s, idle: 5m}
              stream: {after_expiry: 0s, max_age: 2h}
              max_body: 5MiB
              limit: [person, address]
              headers: {set: {X-Both: theirs, X-Theirs: t, X-Gone: g}, remove: [X-Old]}
              cors: {origins: ["*"]}
            """,
        )
    )

    mine, plain, public, free = config.table.routes
    assert mine.timeouts == Timeouts(1.0, 30.0, 300.0)
    assert plain.timeouts == Timeouts(5.0, 30.0, 300.0)
    assert (mine.stream, plain.stream) == (StreamRules(0.0, 30.0, 3600.0), StreamRules(0.0, 30.0, 7200.0))
    assert (mine.max_body_bytes, plain.max_body_bytes) == (1024**2, 5 * 1024**2)
    names = [[limit.name for limit in route.limits] for route in (mine, plain, public, free)]
    assert names == [["address"], ["person", "address"], ["address"], []]
    assert dict(mine.header_rules.set) == {"X-Theirs": Template(("t",), ()), "x-both": Template(("mine",), ())}
    assert mine.header_rules.remove == {b"x-old", b"x-gone"}
    assert dict(plain.header_rules.set)["X-Both"] == Template(("theirs",), ())
    assert (mine.cors, plain.cors) == (Cors(()), Cors(("*",)))


def test_a_header_template_takes_claims_and_plain_braces() -> None:
    route = only_route(route="""headers: {set: {X-A: "{{x}}{identity.claims.plan}{request.id}"}}""")

    assert route.header_rules.set == (("X-A", Template(("{x}", "", ""), ("identity.claims.plan", "request.id"))),)


def test_equal_claims_for_access_keys_are_one_text() -> None:
    written = ["{b: 1, a: {d: x, c: y}}", "{a: {c: y, d: x}, b: 1}"]

    texts = {only_route(route=f"auth: any\naccess_keys: {{claims: {claims}}}").exchange.claims for claims in written}

    assert texts == {'{"a":{"c":"y","d":"x"},"b":1}'}


def test_the_routes_can_be_matched_and_their_order_does_not_matter() -> None:
    wide = "- {id: wide, match: {path: '/**'}, upstream: legacy}\n"
    near = "- {id: near, match: {path: '/a/{x}'}, upstream: legacy}\n"

    for routes in (wide + near, near + wide):
        match = read(text(routes=routes)).table.match("", "GET", Target("/a/b", ("a", "b")))
        assert isinstance(match, Match)
        assert (match.route.id, match.captures) == ("near", {"x": "b"})


def test_expectations_are_read() -> None:
    config = read(
        text(
            more="""
            tests:
              - {request: "GET /x", expect: admit}
              - {request: "POST /x?y=1", as: anonymous, expect: 401, host: App.example.com}
              - request: "GET http://app.example.com:80/x"
                as: {key_id: K2worker, roles: [worker], tenants: {acme: {permissions: [p]}}, claims: {plan: pro}}
                expect: 403 role_missing
            """
        )
    )

    assert [(e.method, e.target, e.host, e.as_, e.status, e.reason) for e in config.expectations] == [
        ("GET", "/x", "", None, 200, None),
        ("POST", "/x?y=1", "app.example.com", None, 401, None),
        (
            "GET",
            "/x",
            "app.example.com",
            {
                "key_id": "K2worker",
                "roles": ["worker"],
                "tenants": {"acme": {"permissions": ["p"]}},
                "claims": {"plan": "pro"},
            },
            403,
            Reason.ROLE_MISSING,
        ),
    ]
    assert isinstance(config.expectations[0], Expectation)
    assert config.expectations[1].line == "routes.yaml:14:5"
    assert config.expectations[0].request == "GET /x"


# --- values from the environment --------------------------------------------------------------------------------------


def test_variables_are_put_in() -> None:
    written = text(
        descope="\n  project_id: ${PROJECT}\n  base_url: ${BASE:-}\n  audience: ['$${LITERAL}', 'a-${A}-${B:-b}']",
        server="\n  public_urls: [http://localhost]\n  cookies: {session: '${A}', secure: false}",
        limits="\n  it: {per: client, rate: 1/s, burst: '7'}\n".replace("'7'", "7"),
        upstreams="\n  legacy:\n    url: ${URL:-http://127.0.0.1:9000}\n    profile: ${PROFILE:-false}",
    )

    config = read(written, {"PROJECT": PROJECT, "A": "x", "B": "", "PROFILE": "true"})

    assert config.tokens == TokenRules(PROJECT, ("${LITERAL}", "a-x-b"))
    assert config.base_url == ""
    assert config.server.cookies.session == "x"
    assert config.upstreams[0].profile is True
    assert config.upstreams[0].port == 9000


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("x]\nroutes: []", id="a line end and a key"),
        pytest.param("{a: b}", id="a mapping"),
        pytest.param("[a, b]", id="a list"),
        pytest.param("*anchor", id="an alias"),
        pytest.param("!!python/object:os.system", id="a tag"),
        pytest.param("a # b", id="a comment"),
        pytest.param("${OTHER}", id="another variable"),
    ],
)
def test_what_a_variable_holds_is_never_read_as_yaml(value: str) -> None:
    config = read(text(descope=f"\n  project_id: {PROJECT}\n  audience:\n    - ${{VALUE}}"), {"VALUE": value})

    assert config.tokens.audience == (value,)


def test_a_message_does_not_tell_what_a_variable_holds() -> None:
    written = text(upstreams="\n  legacy:\n    url: ${URL}\n    host: ${URL}")

    told = "\n".join(problems(written, {"URL": "http://ada:secret-word@legacy:9000"}))

    assert "user name and password" in told
    assert "secret-word" not in told


# --- mistakes ---------------------------------------------------------------------------------------------------------

YAML_MISTAKES = [
    pytest.param(
        text(descope="{project_id: §${UNSET}}").replace("${UNSET}", '"${UNSET}"'), ["UNSET"], id="an unset name"
    ),
    pytest.param(text(descope='{project_id: §"${1X}"}'), ["${NAME}"], id="a name that is none"),
    pytest.param(text(descope='{project_id: §"${X"}'), ["${NAME}"], id="a brace that stays open"),
    pytest.param(text(descope="{project_id: $§{X}}"), ["no YAML", "quotes"], id="a variable in braces without quotes"),
    pytest.param(
        text(upstreams='{legacy: {url: "http://127.0.0.1:9000"}, §legacy: {url: "http://127.0.0.1:1"}}'),
        ["'legacy'", "twice", "line 4"],
        id="a key twice",
    ),
    pytest.param(text(route="auth: any\n§auth: public"), ["'auth'", "twice"], id="auth twice"),
    pytest.param(text(route="§require:"), ["'require'", "no value"], id="a key whose lines are commented out"),
    pytest.param(text(route="limit: [§~]"), ["no value"], id="an item without value"),
    pytest.param(text(more="tests: §!!python/name:os.system []"), ["tags"], id="a tag"),
    pytest.param(text(more="tests: [§*nothing]"), ["nothing"], id="an alias of nothing"),
    pytest.param(text(more="tests: &t [§*t]"), ["alias"], id="an alias of itself"),
    pytest.param(text(more="§[a]: b"), ["a key is a text"], id="a list as a key"),
    pytest.param(text(more="§---\nversion: 1"), ["second document"], id="two documents"),
    pytest.param(
        text(more="tests: §" + "[" * 40 + "]" * 40).replace("§", "").replace("[" * 40, "[" * 24 + "§" + "[" * 16),
        ["nested"],
        id="forty lists deep",
    ),
    pytest.param("§", ["version: 1"], id="an empty file"),
    pytest.param("§- a\n- b", ["version: 1"], id="a list"),
    pytest.param("a: b: §c".replace("b: §", "b§: "), ["no YAML"], id="no YAML"),
    pytest.param("a: b\nc: §\x07", ["character"], id="a control character"),
]

SECTION_MISTAKES = [
    pytest.param(text(version="version: §2"), ["version: 1"], id="another version"),
    pytest.param(text(version="version: §'1'"), ["version: 1"], id="the version as a text"),
    pytest.param(text(version="§versoin: 1"), ["'versoin'", "did you mean 'version'"], id="a key nearly right"),
    pytest.param(text(more="§nonsense: 1"), ["'nonsense'", "known are"], id="a key far off"),
    pytest.param(text(descope="§{}"), ["descope.project_id", "missing"], id="no project id"),
    pytest.param(text(descope="{project_id: §P2short}"), ["project id", "19 to 63"], id="a short project id"),
    pytest.param(text(descope="{project_id: §X2demo0000000000000000000000}"), ["project id"], id="no P first"),
    pytest.param(text(descope="{project_id: §12345678901234567}"), ["project id"], id="a number as project id"),
    pytest.param(
        text(descope=f"{{project_id: {PROJECT}, §base_uri: x}}"), ["'base_uri'", "'base_url'"], id="a key of descope"
    ),
    pytest.param(
        text(descope=f'{{project_id: {PROJECT}, base_url: §"ftp://x"}}'), ["base_url", "http or https"], id="a scheme"
    ),
    pytest.param(text(server="§{}"), ["server.public_urls", "missing"], id="no public URL"),
    pytest.param(text(server="{public_urls: §[]}"), ["at least one"], id="an empty list of public URLs"),
    pytest.param(
        text(server='{public_urls: [§"https://app.example.com/x"]}'),
        ["no path", "https://app.example.com"],
        id="a public URL with a path",
    ),
    pytest.param(
        text(server='{public_urls: [§"https://app.example.com/"]}'),
        ["not even a slash"],
        id="a public URL with a slash",
    ),
    pytest.param(text(server="{public_urls: [§app.example.com]}"), ["https://app.example.com"], id="no scheme"),
    pytest.param(
        text(server='{public_urls: [§"https://a:b@c"]}'), ["user name and password"], id="a public URL with a password"
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], hosts: [§"*.x.com"]}'), ["whole names"], id="a wild host"
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], hosts: [§"x.com:80"]}'), ["without scheme, port"], id="a port"
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], trusted_proxies: [§0.0.0.0/0]}'),
        ["trusts everybody", "name the addresses"],
        id="everybody trusted",
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], trusted_proxies: [10.0.0.1, §"::/0"]}'),
        ["trusts everybody"],
        id="everybody of IPv6 trusted",
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], trusted_proxies: [§10.0.0.1/8]}'),
        ["did you mean 10.0.0.0/8"],
        id="bits behind the prefix",
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], trusted_proxies: [§nginx]}'), ["10.0.0.0/8"], id="no network"
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], cookies: §{same_site: none, secure: false}}'),
        ["same_site none", "secure: true"],
        id="same_site none without secure",
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], cookies: {same_site: §laks}}'),
        ["'laks'", "lax, strict, none", "did you mean lax"],
        id="a word nearly right",
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], cookies: {secure: §yes}}'),
        ["true or false"],
        id="yes for true",
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], cookies: §{session: DS, refresh: DS}}'),
        ["one name"],
        id="one name for both cookies",
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], cookies: §{session: DS, refresh: DS.1}}'),
        ["DS.1"],
        id="the name of a part",
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], cookies: §{session: __Host-s, domain: localhost}}'),
        ["__Host-s"],
        id="a __Host- cookie with a domain",
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], cookies: {session: §"a;b"}}'),
        ["cookie name"],
        id="no cookie name",
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], cookies: §{domain: example.com}}'),
        ["example.com", "http://localhost"],
        id="a domain that does not cover a public URL",
    ),
    pytest.param(text(more='login: {url: §"//evil.example"}'), ["one slash"], id="a login URL of another host"),
    pytest.param(text(more='login: {url: §"javascript:x"}'), ["http or https"], id="a login URL of another scheme"),
    pytest.param(text(more="refresh: {grace: §30}"), ["unit", "30s"], id="a duration without unit"),
    pytest.param(text(more="refresh: {grace: §1.5s}"), ["whole number"], id="half a second"),
    pytest.param(text(more="refresh: {grace: §31d}"), ["at most 30d"], id="too long a duration"),
    pytest.param(text(more="access_keys: {remember: §0s}"), ["longer than nothing"], id="nothing remembered"),
    pytest.param(text(more="access_keys: §{remember: 10m, max_stale: 5m}"), ["max_stale"], id="stale before forgotten"),
    pytest.param(text(more="defaults: {max_body: §10MB}"), ["did you mean 10MiB"], id="a size in MB"),
    pytest.param(text(more="defaults: {max_body: §1048576}"), ["unit"], id="a size without unit"),
    pytest.param(text(more="defaults: {max_body: §1025GiB}"), ["at most 1024GiB"], id="a size beyond all bodies"),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], cookies: §{session: __Secure-s, secure: false}}'),
        ["__Secure-s", "secure: true"],
        id="a __Secure- cookie that is not secure",
    ),
    pytest.param(
        text(server='{public_urls: ["http://localhost"], cookies: {path: §"/a;b"}}'),
        ["cookie path"],
        id="a semicolon in a cookie path",
    ),
    pytest.param(text().split("routes:")[0] + "routes: §[]\n", ["at least one"], id="no route"),
    pytest.param(text().split("routes:")[0] + "routes: §{}\n", ["list"], id="a mapping of routes"),
    pytest.param(text(more="defaults: {limit: [§persn]}"), ["'persn'", "'person'"], id="an unknown default limit"),
    pytest.param(text(more="defaults: {§auth: public}"), ["'auth'"], id="auth has no default"),
    pytest.param(text(upstreams="§[a]", upstream="upstream: legacy"), ["mapping from names"], id="a list of upstreams"),
    pytest.param(text(upstreams="{legacy: §{}}"), ["url", "missing"], id="an upstream without URL"),
    pytest.param(
        text(upstreams='{legacy: {url: §"127.0.0.1:9000"}}'), ["http://127.0.0.1:9000"], id="no scheme before it"
    ),
    pytest.param(text(upstreams='{legacy: {url: §"http://a:b@c"}}'), ["user name and password"], id="a password"),
    pytest.param(text(upstreams='{legacy: {url: §"http://c/?x"}}'), ["query"], id="a query"),
    pytest.param(text(upstreams='{legacy: {url: §"http://c/#x"}}'), ["fragment"], id="a fragment"),
    pytest.param(text(upstreams='{legacy: {url: §"http://c:x"}}'), ["port"], id="no port"),
    pytest.param(text(upstreams='{legacy: {url: §"http://c:0"}}'), ["port"], id="port nought"),
    pytest.param(text(upstreams='{legacy: {url: §"http://c/../x"}}'), ["`..`"], id="dots in the base path"),
    pytest.param(text(upstreams='{legacy: {url: §"http://c\\t/x"}}'), ["controls"], id="a tab"),
    pytest.param(text(upstreams='{legacy: {url: §"unix:run/app.sock"}}'), ["absolute path"], id="a relative socket"),
    pytest.param(
        text(upstreams='{legacy: {url: "http://c", forward_token: §true}}'),
        ["false, bearer, cookie"],
        id="forward_token without a way",
    ),
    pytest.param(
        text(upstreams='{legacy: {url: "http://c", retry_after: §holt}}'), ["did you mean hold"], id="hold misspelt"
    ),
    pytest.param(
        text(upstreams='{legacy: {url: "http://c"}, §"a b": {url: "http://c"}}'),
        ["a name is"],
        id="a name with a blank",
    ),
    pytest.param(text(limits="{person: {rate: §20, per: subject}}"), ["100/m"], id="a rate without period"),
    pytest.param(text(limits="{person: {rate: §0/s, per: subject}}"), ["from 1"], id="a rate of nothing"),
    pytest.param(text(limits="{person: {rate: 1/s, per: §user}}"), ["'user'", "subject"], id="per whom"),
    pytest.param(text(limits="{person: §{rate: 1/s}}"), ["per", "missing"], id="per nobody"),
    pytest.param(text(limits="{person: {rate: 1/s, per: subject, burst: §0}}"), ["burst", "1"], id="no burst"),
]

_NAMES_OF_OURS = """
    Connection Transfer-Encoding Content-Length Upgrade TE Host Cookie X-Auth-Subject x-auth-roles X_Auth_Roles
    X-Forwarded-For Forwarded X-Real-IP X-Request-Id Expect X-HTTP-Method-Override
"""
_NOT_TO_SET = _NAMES_OF_OURS.split()

ROUTE_MISTAKES = [
    pytest.param(text(upstream="§upstrem: legacy"), ["'upstrem'", "'upstream'"], id="a key nearly right"),
    pytest.param(text(upstream="upstream: §legcy"), ["'legcy'", "'legacy'"], id="an unknown upstream"),
    pytest.param(text(route="limit: [person, §adress]"), ["'adress'", "'address'"], id="an unknown limit"),
    pytest.param(text(route="auth: §publik"), ["'publik'", "did you mean public"], id="an unknown auth"),
    pytest.param(text(match="§{host: a.com}"), ["match.path", "missing"], id="no path"),
    pytest.param(text(match="{§pth: /x}"), ["'pth'", "'path'"], id="a path nearly written"),
    pytest.param(text(match="{path: §x}"), ["begins with a slash"], id="a path without slash"),
    pytest.param(text(match='{path: §"/a/**/b"}'), ["last segment"], id="a rest in the middle"),
    pytest.param(text(match="{path: §/.auth/x}"), ["/.auth"], id="a path of our own"),
    pytest.param(text(match="{path: §/%2Eauth}"), ["/.auth"], id="a path of our own, escaped"),
    pytest.param(text(match='{path: /x, host: §"a.*.com"}'), ["star"], id="a star in the middle of a host"),
    pytest.param(text(match='{path: /x, host: §"https://a.com"}'), ["without scheme"], id="a URL as host"),
    pytest.param(text(match="{path: /x, methods: [GET, §post]}"), ["did you mean POST"], id="a method in lower case"),
    pytest.param(
        text(match="{path: /x, methods: [§TRACE]}"), ["TRACE", "never forwarded"], id="a method never forwarded"
    ),
    pytest.param(text(match="{path: /x, methods: §[]}"), ["at least one"], id="no method"),
    pytest.param(text(match='{path: /x, methods: [§"GE T"]}'), ["a word such as GET"], id="a blank in a method"),
    pytest.param(text(match="{path: /x, methods: §GET}"), ["a list is wanted"], id="a method that is no list"),
    pytest.param(text(route="headers: {set: {X-A: §5}}"), ["quotes"], id="a number as a header"),
    pytest.param(text(route="headers: {set: {X-A: §[a]}}"), ["one text"], id="a list as a header"),
    pytest.param(text(route="require: §{}"), ["nothing is required"], id="nothing required"),
    pytest.param(text(route="require: {roles: §[admin]}"), ["any or all"], id="roles without any or all"),
    pytest.param(text(route="require: {roles: §{}}"), ["any or all"], id="roles of nothing"),
    pytest.param(text(route="require: {roles: {any: §[]}}"), ["at least one"], id="any of nothing"),
    pytest.param(text(route="require: {roles: {§one: [a]}}"), ["'one'"], id="neither any nor all"),
    pytest.param(text(route="require: {§role: {any: [a]}}"), ["'role'", "'roles'"], id="a requirement nearly right"),
    pytest.param(text(route="require: {roles: {any: [§1]}}"), ["quotes"], id="a number as a role"),
    pytest.param(text(route="require: {clients: [§10.0.0.300]}"), ["10.0.0.0/8"], id="no client network"),
    pytest.param(text(route="require: {claims: §{}}"), ["at least one"], id="no claim"),
    pytest.param(text(route="require: {claims: {§nsec: {any: [a]}}}"), ["nsec", "prove nothing"], id="claims of nsec"),
    pytest.param(text(route='require: {claims: {§"nsec.plan": {any: [a]}}}'), ["nsec"], id="a claim within nsec"),
    pytest.param(text(route="require: {claims: {plan: §pro}}"), ["any or all"], id="a claim without any or all"),
    pytest.param(text(route="require: {claims: {plan: {any: [§1.5]}}}"), ["whole number"], id="a fraction as a claim"),
    pytest.param(
        text(route="auth: public\n§require: {roles: {any: [a]}}"), ["public", "require"], id="require on a public route"
    ),
    pytest.param(
        text(route="auth: public\n§require: {clients: [10.0.0.0/8]}"), ["public"], id="clients on a public route"
    ),
    pytest.param(
        text(route="auth: public\nlimit: [address, §person]"),
        ["'person'", "public", "subject"],
        id="a limit per subject on a public route",
    ),
    pytest.param(text(route="require: {§key_ids: [K2a]}"), ["no access keys"], id="key ids on a session route"),
    pytest.param(
        text(route="auth: any\nrequire: {key_ids: [§abc]}"), ["not the key itself"], id="a key where its id belongs"
    ),
    pytest.param(text(route="§access_keys: {tenant: acme}"), ["no access keys"], id="an exchange on a session route"),
    pytest.param(
        text(match='{path: "/t/{tenant}"}', route='require: {tenant: §"{path.tennant}"}'),
        ["{tennant}", "did you mean {path.tenant}"],
        id="a tenant that the pattern does not catch",
    ),
    pytest.param(text(route='require: {tenant: §"{host.label.0}"}'), ["match.host"], id="a host label without host"),
    pytest.param(
        text(match='{path: /x, host: "*.example.com"}', route='require: {tenant: §"{host.label.3}"}'),
        ["*.example.com", "label 3"],
        id="a label that a wildcard lacks",
    ),
    pytest.param(
        text(match="{path: /x, host: a.com}", route='require: {tenant: §"{host.label.2}"}'),
        ["a.com", "label 2"],
        id="a label that a host lacks",
    ),
    pytest.param(text(route='require: {tenant: §"{query.t}"}'), ["{path.NAME}"], id="a tenant from elsewhere"),
    pytest.param(
        text(route="rewrite: {strip_prefix: §/y}"), ["/x", "/y"], id="a prefix that the path does not begin with"
    ),
    pytest.param(
        text(match='{path: "/{t}/x"}', route="rewrite: {strip_prefix: §/t}"), ["literal"], id="a prefix over a capture"
    ),
    pytest.param(
        text(route="rewrite: {strip_prefix: §/x/}"), ["does not end with one"], id="a prefix with a slash at its end"
    ),
    pytest.param(text(route="rewrite: {strip_prefix: §/}"), ["does not end with one"], id="a prefix of nothing"),
    *(pytest.param(text(route=f"headers: {{set: {{§{name}: x}}}}"), [name], id=f"{name} set") for name in _NOT_TO_SET),
    pytest.param(text(route='headers: {set: {§"a b": x}}'), ["'a b'", "header name"], id="no header name"),
    pytest.param(text(route="headers: {remove: [§X-Auth-Email]}"), ["X-Auth-Email"], id="our own header removed"),
    pytest.param(text(route='headers: {set: {X-A: §"a\\r\\nX-B: c"}}'), ["controls"], id="a line end in a header"),
    pytest.param(text(route="headers: {set: {X-A: §é}}"), ["ASCII"], id="a letter beyond ASCII in a header"),
    pytest.param(text(route='headers: {set: {X-A: §""}}'), ["remove"], id="an empty header"),
    pytest.param(
        text(route='headers: {set: {X-A: §"{identity.subjct}"}}'),
        ["{identity.subjct}", "did you mean {identity.subject}"],
        id="a template name nearly right",
    ),
    pytest.param(
        text(route='headers: {set: {X-A: §"{nothing}"}}'), ["{nothing}", "identity.subject"], id="a name far off"
    ),
    pytest.param(text(route='headers: {set: {X-A: §"a } b"}}'), ["twice"], id="a lonely brace"),
    pytest.param(
        text(route='headers: {set: {X-A: §"{identity.claims.nsec.a}"}}'), ["nsec"], id="a claim of nsec shown"
    ),
    pytest.param(
        text(match='{path: "/{tenant}"}', route='headers: {set: {X-A: §"{path.tenat}"}}'),
        ["{tenat}", "{path.tenant}"],
        id="a capture that the pattern lacks",
    ),
    pytest.param(
        text(more='defaults: {headers: {set: {X-A: §"{path.tenant}"}}}'),
        ["{tenant}", "'it'"],
        id="a default that a route cannot fill",
    ),
    pytest.param(
        text(
            upstreams='{legacy: {url: "http://c", forward_token: bearer}}',
            route="headers: {set: {§Authorization: Basic eA==}}",
        ),
        ["Authorization", "'legacy'"],
        id="two authorizations",
    ),
    pytest.param(
        text(route='cors: §{origins: ["*"], credentials: true}'),
        ["credentials", "name the origins"],
        id="everybody's cookies",
    ),
    pytest.param(text(route='cors: §{origins: ["*", "http://a.com"]}'), ["alone"], id="everybody and somebody"),
    pytest.param(text(route="cors: {origins: [§null]}").replace("null", '"null"'), ["sandboxed"], id="the null origin"),
    pytest.param(text(route='cors: {origins: [§"http://a.com/x"]}'), ["no path"], id="an origin with a path"),
    pytest.param(text(route="timeouts: {connect: §0s}"), ["longer than nothing"], id="no time to connect"),
    pytest.param(text(routes="- §{id: other, match: {path: /y}}"), ["upstream", "missing"], id="no upstream"),
    pytest.param(text(routes="- §nonsense"), ["mapping"], id="a text as a route"),
    pytest.param(
        text(routes="- {id: §it, match: {path: /y}, upstream: legacy}"), ["'it'", "routes[1].id"], id="an id twice"
    ),
    pytest.param(
        text(routes='- {id: §"a b", match: {path: /y}, upstream: legacy}'), ["a name is"], id="a blank in an id"
    ),
    pytest.param(
        text(routes="- {id: other, match: {path: §/x}, upstream: legacy}"),
        ["'it'", "'other'", "every method"],
        id="a tie",
    ),
    pytest.param(
        text(
            match="{path: '/{a}', methods: [GET]}",
            routes="- {id: other, match: {path: §'/{b}', methods: [HEAD]}, upstream: legacy}",
        ),
        ["'it'", "'other'", "HEAD"],
        id="a tie of HEAD with GET",
    ),
]

TEST_MISTAKES = [
    pytest.param("{request: §GET, expect: 200}", ["GET /admin/x"], id="no path"),
    pytest.param("{request: §GET x, expect: 200}", ["slash"], id="a path without slash"),
    pytest.param("§{request: GET /x}", ["expect", "missing"], id="nothing expected"),
    pytest.param(
        "{request: GET /x, expect: §403 role_mising}", ["did you mean role_missing"], id="a reason nearly right"
    ),
    pytest.param("{request: GET /x, expect: §401 role_missing}", ["403 role_missing"], id="a reason of another status"),
    pytest.param("{request: GET /x, expect: §302}", ["403 role_missing"], id="a status that no refusal has"),
    pytest.param("{request: GET /x, expect: §true}", ["403 role_missing"], id="a truth value"),
    pytest.param("{request: GET /x, as: §nobody, expect: 200}", ["anonymous"], id="an unknown caller"),
    pytest.param(
        "{request: GET /x, as: {§rolls: [a]}, expect: 200}", ["'rolls'", "'roles'"], id="a property nearly right"
    ),
    pytest.param("{request: GET /x, as: §{subject: U2a, key_id: K2a}, expect: 200}", ["subject"], id="two subjects"),
    pytest.param("{request: 'GET http://a.com/x', §host: b.com, expect: 200}", ["keep one"], id="two hosts"),
]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        *YAML_MISTAKES,
        *SECTION_MISTAKES,
        *ROUTE_MISTAKES,
        *(
            pytest.param(text(more=f"tests:\n  - {one.values[0]}"), one.values[1], id=f"a test with {one.id}")
            for one in TEST_MISTAKES
        ),
    ],
)
def test_a_mistake_is_told_once_at_its_place(written: str, told: list[str]) -> None:
    plain, (place,) = marked(written)

    found = problems(plain)

    assert len(found) == 1, found
    assert found[0].startswith(f"routes.yaml:{place}: "), found[0]
    assert all(word in found[0] for word in told), found[0]


def test_missing_sections_are_each_named() -> None:
    found = problems("login: {}")

    assert [problem.split("`")[1] for problem in found] == ["descope", "routes", "server", "upstreams", "version"]


def test_every_mistake_of_a_file_is_told_in_its_order() -> None:
    written, places = marked(
        """\
version: §3
§descoppe: {project_id: P2demo0000000000000000000000}
server:
  public_urls: [§app.example.com]
  cookies: {same_site: §nome, §secur: true}
upstreams:
  legacy: {url: §"http://a:b@c"}
limits:
  person: {rate: §20, per: subject}
routes:
  - id: one
    match: {path: §x}
    auth: public
    §require: {roles: {any: [a]}}
    upstream: §legcy
    limit: [§persn]
  - id: two
    match: {path: "/t/{tenant}"}
    §auht: any
    require: {tenant: §"{path.t}", roles: §[a]}
    upstream: legacy
  - id: §two
    match: {path: "/y"}
    upstream: legacy
  - id: four
    match: {path: §"/t/{other}"}
    upstream: legacy
    headers: {set: {X-A: §"${UNSET}"}}
tests:
  - {request: GET /x, expect: §admitt}
"""
    )

    found = problems(written)

    assert [problem.split(": ")[0] for problem in found] == [f"routes.yaml:{place}" for place in places]


def test_aliases_may_be_used() -> None:
    config = read(
        text(
            route="timeouts: &slow {connect: 9s}",
            routes="- {id: other, match: {path: /y}, upstream: legacy, timeouts: *slow}",
        )
    )

    assert [route.timeouts.connect_s for route in config.table.routes] == [9.0, 9.0]


def test_t18_aliases_cannot_multiply_without_end() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )

    assert any("aliases multiply" in problem for problem in problems(bomb))


def test_t18_aliases_cannot_nest_without_end() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [[[[*a{n - 1}]]]]\n" for n in range(1, 400))

    assert any("nested" in problem for problem in problems(chain))


@pytest.mark.parametrize(
    "nested",
    [
        pytest.param("[" * 100_000, id="lists"),
        pytest.param("{a: " * 100_000, id="mappings"),
        pytest.param("- " * 100_000, id="lists in blocks"),
    ],
)
def test_t18_depth_ends_in_a_message(nested: str) -> None:
    assert len(problems(nested)) == 1


def test_t18_a_file_is_at_most_a_mebibyte(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(text(more="#" * 1024 * 1024))

    with pytest.raises(ConfigError, match="bytes"):
        load(file, {})
    assert "bytes" in problems(file.read_text())[0]


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_any_text_is_a_config_error(written: str) -> None:
    found = problems(written)

    assert all(problem.startswith("routes.yaml:") for problem in found)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from([*schema()["properties"], "routes.0.", "routes.0.match.", "routes.0.require.", "limits.person."]),
    st.sampled_from(
        ["id", "path", "host", "auth", "require", "roles", "limit", "headers", "cors", "rate", "tenant", "x"]
    ),
    _VALUES,
)
def test_any_value_in_any_place_is_a_config_or_a_config_error(place: str, key: str, value: object) -> None:
    document = {
        "version": 1,
        "descope": {"project_id": PROJECT},
        "server": {"public_urls": ["http://localhost"]},
        "upstreams": {"legacy": {"url": "http://c"}},
        "limits": {"person": {"rate": "1/s", "per": "client"}},
        "routes": [{"id": "it", "match": {"path": "/x"}, "upstream": "legacy", "require": {"tenant": "a"}}],
    }
    here: object = document
    *parents, last = place.split(".")
    for part in parents:
        here = here[int(part)] if isinstance(here, list) else here[part] if isinstance(here, dict) else None
    assert isinstance(here, dict)
    here[last or key] = value

    try:
        config = parse(json.dumps(document), "routes.yaml", {})
    except ConfigError as err:
        told = err.problems
    else:
        assert config.table.routes
        return

    assert told
    assert all(problem.startswith("routes.yaml:") for problem in told)


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_is_loaded_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    for mark in (b"", b"\xef\xbb\xbf"):
        file.write_bytes(mark + text().encode())
        assert load(file, {}).tokens.project_id == PROJECT


def test_messages_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("version: 2")

    with pytest.raises(ConfigError) as failed:
        load(file, {})

    assert all(problem.startswith(f"{file}:1:") for problem in failed.value.problems)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"version: 1\n# caf\xe9")

    for path, told in (
        (tmp_path / "absent.yaml", "No such file"),
        (tmp_path, "directory"),
        (tmp_path / "latin.yaml", "latin.yaml:2:6: the file is not UTF-8"),
        (Path("a\0b"), "no file name"),
    ):
        with pytest.raises(ConfigError) as failed:
            load(path, {})
        assert told in str(failed.value)


# --- warnings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "told"),
    [
        pytest.param(
            text(upstreams='{legacy: {url: "http://c"}, §spare: {url: "http://d"}}', limits="{}"),
            ["upstreams.spare", "no route uses it"],
            id="an upstream that nobody uses",
        ),
        pytest.param(
            text(limits="{§spare: {rate: 1/s, per: client}}"), ["limits.spare"], id="a limit that nobody uses"
        ),
        pytest.param(
            text(limits="{}", server='{public_urls: ["https://app.example.com"], cookies: §{secure: false}}'),
            ["secure is false", "https://app.example.com"],
            id="cookies without secure over https",
        ),
        pytest.param(
            text(limits="{}", server='{public_urls: §["http://app.example.com"]}'),
            ["http://app.example.com", "use https"],
            id="secure cookies without https",
        ),
        pytest.param(
            text(
                limits="{}",
                route="require: {roles: {any: [admin]}}",
                routes="- {id: b, match: {path: /y}, upstream: legacy, require: {roles: {all: [§Admin]}}}",
            ),
            ["'Admin'", "'admin'"],
            id="a role in two spellings",
        ),
        pytest.param(
            text(
                limits="{}",
                route="require: {permissions: {any: [a.read]}}",
                more='tests: [{request: "GET /x", as: {permissions: [§A.read]}, expect: admit}]',
            ),
            ["'A.read'", "'a.read'"],
            id="a permission in two spellings, one of them in a test",
        ),
        pytest.param(
            text(limits="{}", descope=f'{{project_id: {PROJECT}, base_url: §"http://descope.internal"}}'),
            ["unencrypted"],
            id="Descope over plain http",
        ),
        pytest.param(
            text(limits="{}", server='{public_urls: ["http://localhost"], cookies: §{path: /app}}'),
            ["/app", "/.auth/"],
            id="cookies for a part of the site",
        ),
        pytest.param(text(limits="{}", match="{path: /x, methods: [§GTE]}"), ["did you mean GET"], id="an odd method"),
        pytest.param(
            text(limits="{}", route="require: {tenant: §Selected}"),
            ["'Selected'", "`selected`"],
            id="selected misspelt",
        ),
        pytest.param(
            text(limits="{}", route='auth: public\nheaders: {set: {X-A: §"{identity.subject}"}}'),
            ["left out"],
            id="an identity on a public route",
        ),
        pytest.param(
            text(limits="{key: {rate: 1/s, per: access_key}}", route="limit: [§key]"),
            ["'key'", "takes none"],
            id="a limit per access key on a session route",
        ),
        pytest.param(
            text(
                limits="{}",
                server='{public_urls: ["https://a.com"], hosts: [a.com]}',
                match="{path: /x, host: §b.com}",
            ),
            ["b.com", "never reached"],
            id="a route for a host that is not accepted",
        ),
        pytest.param(
            text(limits="{}", server='{public_urls: ["https://a.com"], hosts: §[b.com]}'),
            ["https://a.com", "add a.com"],
            id="a public URL whose host is not accepted",
        ),
        pytest.param(
            text(limits="{}", routes="- {id: §mine, match: {path: /y}, upstream: legacy}", route="auth: public")
            + "login: {sign_up: true}\n",
            ["'mine'", "anybody can make an account"],
            id="sign-up with a route that asks for a session only",
        ),
    ],
)
def test_a_doubt_is_a_warning_at_its_place(written: str, told: list[str]) -> None:
    plain, (place,) = marked(written)

    warnings = read(plain).warnings

    assert len(warnings) == 1, warnings
    assert warnings[0].startswith(f"routes.yaml:{place}: "), warnings[0]
    assert all(word in warnings[0] for word in told), warnings[0]


# --- the schema and the demo's file -----------------------------------------------------------------------------------


def test_the_schema_in_the_repository_is_the_one_that_is_generated() -> None:
    assert json.loads((CONFIG / "routes.schema.json").read_text("utf-8")) == schema(), (
        "run: gateway schema > config/routes.schema.json"
    )


def test_every_key_of_the_schema_is_described() -> None:
    whole = schema()

    bare = [
        f"{name}.{key}"
        for name, model in [("the file", whole), *whole["$defs"].items()]
        for key, value in model.get("properties", {}).items()
        if not (value.get("description") or whole["$defs"][value["$ref"].rsplit("/", 1)[-1]]["description"])
    ]

    assert bare == []
    assert all(model["additionalProperties"] is False for model in whole["$defs"].values() if "properties" in model)


def test_the_schema_never_offers_null() -> None:
    assert "null" not in json.dumps(schema())


def test_the_demo_file_is_right_and_raises_no_doubt() -> None:
    config = load(CONFIG / "routes.yaml", {})

    assert config.warnings == ()
    assert config.tokens.project_id == PROJECT
    assert config.base_url == "http://127.0.0.1:8200"
    assert config.expectations


def test_the_demo_file_takes_its_addresses_from_the_environment() -> None:
    config = load(
        CONFIG / "routes.yaml",
        {
            "DESCOPE_PROJECT_ID": "P2other000000000000000000000",
            "DESCOPE_BASE_URI": "https://api.descope.com",
            "LEGACY_URL": "unix:/run/legacy.sock",
        },
    )

    assert config.tokens.project_id == "P2other000000000000000000000"
    assert config.base_url == "https://api.descope.com"
    assert config.upstreams[0].socket_path == "/run/legacy.sock"


def test_the_example_of_the_design_is_read() -> None:
    config = read(
        """\
version: 1
descope:
  project_id: ${DESCOPE_PROJECT_ID}
  base_url: ${DESCOPE_BASE_URI:-}
  audience: []
server:
  public_urls: ["https://app.example.com"]
  hosts: []
  trusted_proxies: []
  cookies: {session: DS, refresh: DSR, secure: true, same_site: lax}
login: {url: /.auth/login}
defaults:
  timeouts: {connect: 2s, response: 30s, idle: 60s}
  max_body: 10MiB
upstreams:
  legacy: {url: "http://127.0.0.1:9000", host: preserve, retry_after: pass, forward_token: false, profile: false}
limits:
  person: {rate: 20/s, burst: 40, per: subject}
routes:
  - id: static
    match: {path: "/static/**", methods: [GET]}
    auth: public
    upstream: legacy
  - id: admin
    match: {path: "/admin/**"}
    auth: session
    require: {roles: {any: [admin]}, clients: [10.0.0.0/8]}
    limit: [person]
    upstream: legacy
  - id: docs
    match: {host: app.example.com, path: "/t/{tenant}/docs/**"}
    auth: any
    require: {tenant: "{path.tenant}", permissions: {all: [docs.read]}, claims: {plan: {any: [pro]}}}
    upstream: legacy
  - id: jobs
    match: {path: "/jobs/**", methods: [POST]}
    auth: access_key
    require: {roles: {any: [worker]}, key_ids: [K2x]}
    rewrite: {strip_prefix: /jobs}
    headers: {set: {X-Job-Caller: "{identity.subject}"}, remove: [Cookie]}
    upstream: legacy
tests:
  - {request: "GET /admin/x", as: {roles: [user]}, expect: "403 role_missing"}
  - {request: "GET /admin/x", as: anonymous, expect: "401 no_credentials"}
""",
        {"DESCOPE_PROJECT_ID": PROJECT},
    )

    assert [route.id for route in config.table.routes] == ["static", "admin", "docs", "jobs"]
    assert config.warnings == ()
