"""Which requests are none that anybody should judge, and whom a request is believed to come from."""

from ipaddress import ip_address, ip_network
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.facts import client_key, gather, read_block
from gateway.core.model import HeadLimits, Reason, RequestFacts, ServerRules

HOST = (b"Host", b"app.example.com")
LIMITS = HeadLimits()
OPEN = ServerRules(public_urls=("https://app.example.com",))
TRUSTING = ServerRules(
    public_urls=("https://app.example.com",),
    trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("192.0.2.1/32"), ip_network("fd00::/8")),
)

Line = tuple[bytes, bytes]


def ask(  # the gathering of one request, in which each test changes what it is about
    *lines: Line,
    host: Line | None = HOST,
    method: str = "GET",
    raw_target: bytes = b"/x",
    version: tuple[int, int] = (1, 1),
    peer: str = "203.0.113.9",
    server: ServerRules = OPEN,
    tls: bool = False,
) -> RequestFacts | Reason:
    return gather(
        method=method,
        raw_target=raw_target,
        version=version,
        block=read_block((host, *lines) if host else tuple(lines), LIMITS),
        peer=peer,
        server=server,
        tls=tls,
    )


def taken(facts: RequestFacts | Reason) -> RequestFacts:
    assert isinstance(facts, RequestFacts), facts
    return facts


# --- method, version, target ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "DELETE", "PROPFIND", "M-SEARCH", "VERSION-CONTROL", "X" * 32]
)
def test_t03_every_word_in_capitals_is_a_method(method: str) -> None:
    assert taken(ask(method=method)).method == method


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_t03_connect_and_trace_are_never_taken(method: str) -> None:
    assert ask(method=method) is Reason.METHOD_NOT_ALLOWED


@pytest.mark.parametrize(
    "method", ["", "get", "Get", "connect", "GET ", " GET", "GET\n", "GE T", "-GET", "G_T", "GET2", "ÄT", "X" * 33]
)
def test_t03_what_is_no_method_is_a_bad_request(method: str) -> None:
    assert ask(method=method) is Reason.BAD_REQUEST


@pytest.mark.parametrize("version", [(0, 9), (1, 2), (2, 0), (3, 0), (9, 9), (11, 0)])
def test_only_two_versions_are_spoken(version: tuple[int, int]) -> None:
    assert ask(version=version) is Reason.BAD_REQUEST


def test_facts_tell_the_older_version() -> None:
    assert taken(ask(version=(1, 0))).http10 is True
    assert taken(ask()).http10 is False


def test_t01_a_bad_target_is_told_as_such() -> None:
    assert ask(raw_target=b"/public/%2e%2e/admin") is Reason.BAD_TARGET


def test_t03_an_absolute_target_must_name_the_host_header() -> None:
    assert taken(ask(raw_target=b"http://APP.example.com/a?b")).target.text == "/a?b"
    assert ask(raw_target=b"http://evil.example/a") is Reason.BAD_TARGET
    assert ask(raw_target=b"http:///a", host=None, version=(1, 0)) is Reason.BAD_TARGET


# --- names, values, sizes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [b"", b"X Y", b"X ", b" X", b"X:", b"X\t", b"X\xe9", b"X\x00", b"X\r", b"X(", b'"X"', b"X/Y", b"X@"]
)
def test_t17_a_header_name_is_a_token(name: bytes) -> None:
    assert ask((name, b"1")) is Reason.BAD_REQUEST


@pytest.mark.parametrize("value", [b"a\x00b", b"a\rb", b"a\nb", b"a\r\nX-Auth-Subject: U2ada", b"\n", b"a\r\n b"])
@pytest.mark.parametrize("name", [b"X-Own", b"Cookie"], ids=["unknown name", "usual name"])
def test_t17_a_value_has_no_line_end_and_no_nul(name: bytes, value: bytes) -> None:
    assert ask((name, value)) is Reason.BAD_REQUEST
    assert ask((name, value), (b"Z", b"1")) is Reason.BAD_REQUEST


def test_headers_stay_as_they_came_and_are_found_in_small_letters() -> None:
    lines = [HOST, (b"X-oWn", b"1"), (b"accept", b"\xff"), (b"x-OWN", b"2"), (b"X_Own", b"3"), (b"Accept", b"")]

    facts = taken(ask(*lines[1:]))

    assert facts.headers == tuple((name.lower(), name, value) for name, value in lines)
    assert facts.named == {
        b"host": (b"app.example.com",),
        b"x-own": (b"1", b"2"),
        b"accept": (b"\xff", b""),
        b"x_own": (b"3",),
    }


def test_a_usual_name_is_found_however_it_is_spelt() -> None:
    for name in (b"if-none-match", b"If-None-Match", b"IF-NONE-MATCH", b"iF-nOnE-mAtCh"):
        assert taken(ask((name, b"*"))).one(b"if-none-match") == b"*"


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=6))
def test_t21_any_header_bytes_are_facts_or_refused(lines: list[Line]) -> None:
    facts = ask(*lines)

    if isinstance(facts, RequestFacts):
        assert [(name, value) for _, name, value in facts.headers] == [HOST, *lines]


def test_t18_a_line_may_be_so_long_and_no_longer() -> None:
    longest = b"v" * (LIMITS.line_bytes - len(b"X: \r\n"))

    assert isinstance(ask((b"X", longest)), RequestFacts)
    assert ask((b"X", longest + b"v")) is Reason.HEADERS_TOO_LARGE
    assert ask((b"X" * LIMITS.line_bytes, b"")) is Reason.HEADERS_TOO_LARGE


def test_t18_there_may_be_so_many_lines_and_no_more() -> None:
    lines = [(b"X", b"1")] * (LIMITS.lines - 1)

    assert isinstance(ask(*lines), RequestFacts)
    assert ask(*lines, (b"X", b"1")) is Reason.HEADERS_TOO_LARGE


def test_t18_all_lines_together_may_be_so_long_and_no_longer() -> None:
    spent = len(b"Host: app.example.com\r\n") + 2 * len(b"X: \r\n")
    half = (LIMITS.total_bytes - spent) // 2
    first, second = (b"X", b"v" * half), (b"X", b"v" * (LIMITS.total_bytes - spent - half))

    assert isinstance(ask(first, second), RequestFacts)
    assert ask(first, (b"X", second[1] + b"v")) is Reason.HEADERS_TOO_LARGE


# --- framing --------------------------------------------------------------------------------------------------------

TE, CL = b"Transfer-Encoding", b"Content-Length"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([(TE, b"chunked"), (CL, b"5")], id="both"),
        pytest.param([(CL, b"5"), (TE, b"chunked")], id="both, the other way round"),
        pytest.param([(b"transfer-ENCODING", b"chunked"), (b"content-LENGTH", b"0")], id="both in odd case"),
        pytest.param([(TE, b"chunked"), (TE, b"chunked")], id="coded twice"),
        pytest.param([(TE, b"chunked"), (TE, b"identity")], id="two codings in two lines"),
        pytest.param([(TE, b"gzip, chunked")], id="gzip and chunked"),
        pytest.param([(TE, b"chunked, identity")], id="chunked and identity"),
        pytest.param([(TE, b"identity")], id="identity"),
        pytest.param([(TE, b"")], id="empty coding"),
        pytest.param([(TE, b"xchunked")], id="almost chunked"),
        pytest.param([(TE, b"chunked;x=1")], id="chunked with a parameter"),
        pytest.param([(TE, b"\x0bchunked")], id="vertical tab before"),
        pytest.param([(TE, b"chunked\x0c")], id="form feed behind"),
        pytest.param([(TE, b'"chunked"')], id="quoted"),
        pytest.param([(CL, b"5"), (CL, b"5")], id="the same length twice"),
        pytest.param([(CL, b"5"), (CL, b"6")], id="two lengths"),
        pytest.param([(CL, b"5 , 5")], id="two lengths in a line"),
        pytest.param([(CL, b"+5")], id="plus"),
        pytest.param([(CL, b"-5")], id="minus"),
        pytest.param([(CL, b"0x5")], id="hexadecimal"),
        pytest.param([(CL, b"5_0")], id="underscore"),
        pytest.param([(CL, b"5.0")], id="fraction"),
        pytest.param([(CL, b"")], id="empty length"),
        pytest.param([(CL, b"\xb2")], id="superscript two"),
        pytest.param([(CL, "٥".encode())], id="arabic five"),
        pytest.param([(CL, b"9" * 20)], id="more than 64 bits"),
        pytest.param([(b"Transfer_Encoding", b"chunked")], id="coding with an underscore"),
        pytest.param([(b"transfer.encoding", b"chunked")], id="coding with a dot"),
        pytest.param([(b"Content_Length", b"5")], id="length with an underscore"),
        pytest.param([(CL, b"5"), (b"CONTENT.LENGTH", b"6")], id="length and its dotted double"),
    ],
)
def test_t17_a_body_is_framed_in_one_way(lines: list[Line]) -> None:
    assert ask(*lines, method="POST") is Reason.BAD_REQUEST


@pytest.mark.parametrize(
    "line", [(TE, b"chunked"), (TE, b"Chunked"), (TE, b" chunked\t"), (CL, b"0"), (CL, b"5"), (CL, b"9" * 19)]
)
def test_t17_plain_framing_is_taken(line: Line) -> None:
    assert isinstance(ask(line, method="POST"), RequestFacts)


def test_t17_the_older_version_knows_lengths_but_no_codings() -> None:
    assert isinstance(ask((CL, b"5"), version=(1, 0), method="POST"), RequestFacts)
    assert ask((TE, b"chunked"), version=(1, 0), method="POST") is Reason.BAD_REQUEST


# --- host -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "host"),
    [
        pytest.param(b"app.example.com", "app.example.com", id="name"),
        pytest.param(b"APP.Example.COM", "app.example.com", id="capitals"),
        pytest.param(b"app.example.com.", "app.example.com", id="trailing dot"),
        pytest.param(b"app.example.com:8080", "app.example.com", id="port"),
        pytest.param(b"app.example.com.:443", "app.example.com", id="trailing dot and port"),
        pytest.param(b"app_1.example.com", "app_1.example.com", id="underscore"),
        pytest.param(b"xn--bcher-kva.example", "xn--bcher-kva.example", id="IDN"),
        pytest.param(b"localhost", "localhost", id="one label"),
        pytest.param(b"127.0.0.1:65535", "127.0.0.1", id="IPv4"),
        pytest.param(b"[::1]:1", "[::1]", id="IPv6"),
        pytest.param(b"[FD00::A]", "[fd00::a]", id="IPv6 in capitals"),
        pytest.param(b"[::ffff:192.0.2.7]", "[::ffff:192.0.2.7]", id="IPv4 inside IPv6"),
        pytest.param(b" app.example.com\t", "app.example.com", id="white space around"),
    ],
)
def test_t03_a_host_has_one_name(value: bytes, host: str) -> None:
    facts = taken(ask(host=(b"Host", value)))

    assert facts.host == host
    assert facts.authority == value.strip(b" \t").decode()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" ", id="blank"),
        pytest.param(b".", id="dot"),
        pytest.param(b".example.com", id="leading dot"),
        pytest.param(b"app..example.com", id="two dots"),
        pytest.param(b"app.example.com..", id="two trailing dots"),
        pytest.param(b"ada@app.example.com", id="userinfo"),
        pytest.param(b"app.example.com, evil.example", id="two in a line"),
        pytest.param(b"app.example.com/x", id="slash"),
        pytest.param(b"app.example.com\\x", id="backslash"),
        pytest.param(b"app.example.com?x", id="query"),
        pytest.param(b"app.example.com#x", id="hash"),
        pytest.param(b"app%2eexample.com", id="escape"),
        pytest.param(b"app example.com", id="blank within"),
        pytest.param(b"\x0bapp.example.com", id="vertical tab"),
        pytest.param(b"http://app.example.com", id="URL"),
        pytest.param(b"app.example.com:", id="colon without port"),
        pytest.param(b"app.example.com:0", id="port 0"),
        pytest.param(b"app.example.com:65536", id="port too large"),
        pytest.param(b"app.example.com:443:443", id="two ports"),
        pytest.param(b"app.example.com:+80", id="signed port"),
        pytest.param("bücher.example".encode(), id="UTF-8"),
        pytest.param(b"b\xfccher.example", id="latin-1"),
        pytest.param(b"::1", id="IPv6 without brackets"),
        pytest.param(b"[::1", id="open bracket"),
        pytest.param(b"[::1]x", id="after the bracket"),
        pytest.param(b"[]", id="empty brackets"),
        pytest.param(b"[192.0.2.7]", id="IPv4 in brackets"),
        pytest.param(b"[1:2:3]", id="no IPv6 address"),
        pytest.param(b"[fe80::1%25eth0]", id="zone"),
        pytest.param(b"a" * 261, id="too long"),
    ],
)
def test_t03_what_is_no_host_is_a_bad_request(value: bytes) -> None:
    assert ask(host=(b"Host", value)) is Reason.BAD_REQUEST
    assert ask(host=(b"Host", value), version=(1, 0)) is Reason.BAD_REQUEST


def test_t03_there_is_exactly_one_host() -> None:
    assert ask(host=None) is Reason.BAD_REQUEST
    assert ask(HOST) is Reason.BAD_REQUEST
    assert ask((b"hOST", b"evil.example")) is Reason.BAD_REQUEST
    assert ask(HOST, version=(1, 0)) is Reason.BAD_REQUEST


def test_t03_the_older_version_may_name_no_host() -> None:
    facts = taken(ask(host=None, version=(1, 0)))

    assert (facts.host, facts.authority) == ("", "")


def test_t03_where_hosts_are_listed_others_are_refused() -> None:
    server = ServerRules(public_urls=(), hosts=frozenset({"app.example.com"}))

    assert isinstance(ask(host=(b"Host", b"APP.example.com.:8080"), server=server), RequestFacts)
    assert ask(host=(b"Host", b"www.example.com"), server=server) is Reason.BAD_REQUEST
    assert ask(host=(b"Host", b"app.example.com.evil.example"), server=server) is Reason.BAD_REQUEST
    assert ask(host=None, version=(1, 0), server=server) is Reason.BAD_REQUEST


# --- whom we believe ------------------------------------------------------------------------------------------------

CHAINS: dict[str, list[bytes]] = {
    "no chain": [],
    "empty": [b""],
    "one address": [b"198.51.100.7"],
    "forged and true": [b"1.1.1.1, 198.51.100.7"],
    "behind a second proxy": [b"198.51.100.7, 10.0.0.2"],
    "forged, behind a second proxy": [b"1.1.1.1,198.51.100.7 ,\t10.0.0.2"],
    "over two lines": [b"1.1.1.1, 198.51.100.7", b"10.0.0.2"],
    "trusted ones only": [b"10.0.0.3, 10.0.0.2"],
    "a word": [b"a"],
    "a word at the right": [b"198.51.100.7, a"],
    "a word behind a proxy": [b"198.51.100.7, unknown, 10.0.0.2"],
    "a comma at the right": [b"198.51.100.7,"],
    "with a port": [b"198.51.100.7:4711, 10.0.0.2:80"],
    "with a port that is none": [b"198.51.100.7:x"],
    "IPv6": [b"2001:DB8:0::7"],
    "IPv6 in brackets": [b"[2001:db8::7]"],
    "IPv6 with a port": [b"[2001:db8::7]:4711, [fd00::2]:80"],
    "IPv6 with a zone": [b"[fe80::7%eth0]"],
    "bracket left open": [b"[2001:db8::7"],
    "text behind the bracket": [b"[2001:db8::7]x"],
    "IPv4 in brackets": [b"[198.51.100.7]"],
    "IPv4 inside IPv6": [b"::ffff:198.51.100.7, ::ffff:10.0.0.2"],
    "leading zeros": [b"198.051.100.007"],
    "high bytes": [b"\xff\xfe, 10.0.0.2"],
    "longer than is remembered": [b"1.1.1.1, " * 100 + b"198.51.100.7, 10.0.0.2"],
}
SEEN_THROUGH_PROXY = {
    "one address": "198.51.100.7",
    "forged and true": "198.51.100.7",
    "behind a second proxy": "198.51.100.7",
    "forged, behind a second proxy": "198.51.100.7",
    "over two lines": "198.51.100.7",
    "trusted ones only": "10.0.0.3",
    "a word behind a proxy": "10.0.0.2",
    "with a port": "198.51.100.7",
    "IPv6": "2001:db8::7",
    "IPv6 in brackets": "2001:db8::7",
    "IPv6 with a port": "2001:db8::7",
    "IPv6 with a zone": "fe80::7",
    "IPv4 inside IPv6": "198.51.100.7",
    "high bytes": "10.0.0.2",
    "longer than is remembered": "198.51.100.7",
}
# Peer as the socket tells it: its plain spelling, and whether TRUSTING lists it.
PEERS = {
    "10.0.0.1": ("10.0.0.1", True),
    "::ffff:10.0.0.1": ("10.0.0.1", True),
    "192.0.2.1": ("192.0.2.1", True),
    "fd00::1": ("fd00::1", True),
    "192.0.2.2": ("192.0.2.2", False),
    "11.0.0.1": ("11.0.0.1", False),
    "::ffff:203.0.113.9": ("203.0.113.9", False),
    "2001:db8::9": ("2001:db8::9", False),
    "fe80::1%eth0": ("fe80::1", False),
    "": ("", False),
}


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer or "unix socket")
def test_t05_a_chain_is_believed_of_trusted_proxies_only(peer: str, chain: str) -> None:
    lines = [(b"X-Forwarded-For", value) for value in CHAINS[chain]]
    plain, is_trusted = PEERS[peer]

    open_facts, facts = (taken(ask(*lines, peer=peer, server=server)) for server in (OPEN, TRUSTING))

    assert (open_facts.peer, open_facts.client) == (plain, plain)
    assert facts.peer == plain
    assert facts.client == (SEEN_THROUGH_PROXY.get(chain, plain) if is_trusted else plain)


@pytest.mark.parametrize(
    ("peer", "values", "scheme"),
    [
        pytest.param("10.0.0.1", [b"http"], "http", id="trusted"),
        pytest.param("10.0.0.1", [b"HTTPS"], "https", id="trusted, in capitals"),
        pytest.param("10.0.0.1", [b"https, http"], "http", id="trusted, the last counts"),
        pytest.param("10.0.0.1", [b"https", b"http"], "http", id="trusted, the last line counts"),
        pytest.param("10.0.0.1", [b"ftp"], "https", id="trusted, another scheme"),
        pytest.param("10.0.0.1", [b"http, "], "https", id="trusted, nothing at the right"),
        pytest.param("10.0.0.1", [b"\xff"], "https", id="trusted, high byte"),
        pytest.param("10.0.0.1", [], "https", id="trusted, silent"),
        pytest.param("203.0.113.9", [b"http"], "https", id="untrusted"),
        pytest.param("", [b"http"], "https", id="unix socket"),
    ],
)
def test_t05_a_scheme_is_believed_of_trusted_proxies_only(peer: str, values: list[bytes], scheme: str) -> None:
    lines = [(b"X-Forwarded-Proto", value) for value in values]

    assert taken(ask(*lines, peer=peer, server=TRUSTING)).scheme == scheme


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    ("host", "scheme"),
    [
        pytest.param(b"app.example.com", "https", id="host"),
        pytest.param(b"APP.example.com.", "https", id="another spelling"),
        pytest.param(b"app.example.com:443", "https", id="its usual port"),
        pytest.param(b"app.example.com:8443", "https", id="another port"),
        pytest.param(b"localhost:8080", "http", id="host and port"),
        pytest.param(b"localhost:8443", "https", id="same host, other port"),
        pytest.param(b"[::1]:8080", "http", id="IPv6"),
        pytest.param(b"other.example.com", None, id="unknown host"),
        pytest.param(b"app.example.com.evil.example", None, id="longer host"),
    ],
)
def test_t05_the_scheme_is_that_of_the_public_url(host: bytes, scheme: str | None, tls: bool) -> None:
    urls = ("https://app.example.com", "http://localhost:8080", "https://localhost:8443", "http://[::1]:8080")

    facts = taken(ask(host=(b"Host", host), server=ServerRules(public_urls=urls), tls=tls))

    assert facts.scheme == (scheme or ("https" if tls else "http"))


def test_t05_without_a_host_the_connection_tells_the_scheme() -> None:
    for tls, scheme in ((True, "https"), (False, "http")):
        assert taken(ask(host=None, version=(1, 0), tls=tls)).scheme == scheme


FAMILY = (b"Host", b"Port", b"Prefix", b"Uri", b"Method", b"Server")
OTHERS = (b"X-Real-IP", b"X-Original-URL", b"X-Rewrite-URL", b"Forwarded")


@pytest.mark.parametrize("name", [*(b"X-Forwarded-" + word for word in FAMILY), *OTHERS], ids=bytes.decode)
@pytest.mark.parametrize("peer", ["10.0.0.1", "203.0.113.9"], ids=["trusted", "untrusted"])
def test_t05_the_rest_of_the_family_changes_no_fact(name: bytes, peer: str) -> None:
    told, silent = (
        taken(ask(*lines, peer=peer, server=TRUSTING)) for lines in ([(name, b"for=1.1.1.1;proto=http")], [])
    )

    for fact in ("method", "target", "authority", "host", "scheme", "peer", "client"):
        assert getattr(told, fact) == getattr(silent, fact)


ENTRIES = st.sampled_from(
    ["10.0.0.2", "198.51.100.7", "fd00::2", "[2001:db8::7]:1", "a", "", "1.2.3.4:5", "10.0.0.2:x"]
)
CHAIN_BYTES = st.one_of(st.lists(ENTRIES).map(lambda entries: ", ".join(entries).encode()), st.binary())


@given(st.lists(CHAIN_BYTES, max_size=3), st.sampled_from(sorted(PEERS)))
def test_t05_any_chain_gives_the_peer_or_an_address_that_a_trusted_proxy_told(values: list[bytes], peer: str) -> None:
    clean = [value.translate(None, b"\x00\r\n") for value in values]

    facts = taken(ask(*((b"X-Forwarded-For", value) for value in clean), peer=peer, server=TRUSTING))

    plain, is_trusted = PEERS[peer]
    if facts.client != plain:
        assert is_trusted
        assert str(ip_address(facts.client)) == facts.client


# --- whose allowance ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "key"),
    [
        pytest.param("198.51.100.7", "198.51.100.7", id="IPv4"),
        pytest.param("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", id="IPv6"),
        pytest.param("2001:db8:1:2::", "2001:db8:1:2::/64", id="the network itself"),
        pytest.param("::1", "::/64", id="loopback"),
        pytest.param("::ffff:198.51.100.7", "198.51.100.7", id="IPv4 inside IPv6"),
        pytest.param("", "", id="unix socket"),
    ],
)
def test_an_allowance_is_one_ipv4_address_or_one_ipv6_network(client: str, key: str) -> None:
    assert client_key(client) == key


def test_neighbours_share_an_ipv6_allowance_and_strangers_do_not() -> None:
    near = {client_key(f"2001:db8:0:{last}::{host:x}") for last, host in product((0, 1), (1, 2, 0xFFFF))}

    assert near == {"2001:db8::/64", "2001:db8:0:1::/64"}
