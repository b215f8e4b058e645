"""One path, one spelling: what is matched is what is sent, and no reader behind can take it for another path."""

import posixpath
from urllib.parse import unquote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import Reason, Target
from gateway.core.target import MAX_TARGET_BYTES, canonical, strip_prefix

HOST = "app.example.com"
# What differentials are made of; a path of these is far likelier to be a nasty one than a path of any bytes.
PIECES = (
    *("/", "/", "/", "//", "a", "Z", "9", "41", "2e", "2f", "-", ".", "..", "~", ";", "?", "#", "\\", "%", "%2"),
    *("%2e", "%2E", "%2f", "%2F", "%5c", "%3b", "%23", "%3f", "%25", "%32", "%34", "%41", "%65", "%7e", "%20", "%2C"),
    *("%00", "%0a", "%7f", "%C3%A9", "%c3%a9", "%C0%AE", "%c2%85", "%EF%BC%8F", "%ff", "|", "[", "]", "'", "+", ","),
    *("=", ":", "@", "!", "*", "é", " ", "\x00", "\n", '"', "<", "^", "`", "{"),
)
RAW_PATHS = st.lists(st.sampled_from(PIECES), max_size=12).map(lambda pieces: ("/" + "".join(pieces)).encode("latin-1"))
RAW_TARGETS = st.one_of(RAW_PATHS, st.binary(max_size=40), st.binary(max_size=40).map(lambda raw: b"/" + raw))


def accepted(raw: bytes, authority: str = HOST) -> Target:
    target = canonical(raw, authority)
    assert isinstance(target, Target), f"{raw!r} was refused"
    return target


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"/public/../admin", id="dot dot"),
        pytest.param(b"/public/%2e%2e/admin", id="dot dot escaped"),
        pytest.param(b"/public/.%2E/admin", id="dot dot half escaped"),
        pytest.param(b"/public/%2E%2e%2fadmin", id="dot dot with an escaped slash"),
        pytest.param(b"/public/..%2fadmin", id="dot dot and an escaped slash"),
        pytest.param(b"/public/..;/admin", id="dot dot with a semicolon"),
        pytest.param(b"/public/%2e%2e;x=1/admin", id="dot dot escaped with a parameter"),
        pytest.param(b"/public/..%3B/admin", id="dot dot with an escaped semicolon"),
        pytest.param(b"/public/.%3bx/admin", id="dot with an escaped parameter"),
        pytest.param(b"//admin", id="two slashes at the start"),
        pytest.param(b"//", id="two slashes alone"),
        pytest.param(b"/a//b", id="two slashes within"),
        pytest.param(b"/a//", id="two slashes at the end"),
        pytest.param(b"//%61dmin", id="two slashes and an escape"),
        pytest.param(b"/./admin", id="dot"),
        pytest.param(b"/admin/.", id="dot at the end"),
        pytest.param(b"/admin/..", id="dot dot at the end"),
        pytest.param(b"/admin/..?x", id="dot dot before a query"),
        pytest.param(b"/%2e", id="dot escaped"),
        pytest.param(b"/admin%2fx", id="escaped slash"),
        pytest.param(b"/admin%2Fx", id="escaped slash in capitals"),
        pytest.param(b"/admin%00", id="escaped NUL"),
        pytest.param(b"/admin\x00", id="raw NUL"),
        pytest.param(b"/admin%0a", id="escaped line feed"),
        pytest.param(b"/admin\n", id="raw line feed"),
        pytest.param(b"/admin%1F", id="escaped control"),
        pytest.param(b"/admin%7f", id="escaped DEL"),
        pytest.param(b"/admin\x7f", id="raw DEL"),
        pytest.param(b"/admin%C2%85", id="escaped C1 control"),
        pytest.param(b"/admin%C2%80", id="first C1 control"),
        pytest.param(b"/admin%C2%9f", id="last C1 control"),
        pytest.param(b"/admin%23x", id="escaped hash"),
        pytest.param(b"/admin#x", id="raw hash"),
        pytest.param(b"/admin%3fx", id="escaped question mark"),
        pytest.param(b"/admin\\x", id="raw backslash"),
        pytest.param(b"/admin%5cx", id="escaped backslash"),
        pytest.param(b"/admin%5Cx", id="escaped backslash in capitals"),
        pytest.param(b"/admin%252fx", id="slash escaped twice"),
        pytest.param(b"/%2541", id="letter escaped twice"),
        pytest.param(b"/%25%34%31", id="letter escaped twice, its digits too"),
        pytest.param(b"/public/%25%32%65%25%32%65/admin", id="dot dot escaped twice, its digits too"),
        pytest.param(b"/%25%341", id="letter escaped twice, one digit too"),
        pytest.param(b"/%", id="percent alone"),
        pytest.param(b"/%4", id="escape cut short"),
        pytest.param(b"/%4g", id="escape with a wrong digit"),
        pytest.param(b"/%u0041", id="escape of IIS"),
        pytest.param(b"/%c0%ae%c0%ae/admin", id="overlong dots"),
        pytest.param(b"/%c0%af", id="overlong slash"),
        pytest.param(b"/%e0%80%af", id="overlong slash of three bytes"),
        pytest.param(b"/%ff", id="escape that is no UTF-8"),
        pytest.param(b"/%C3", id="UTF-8 cut short"),
        pytest.param(b"/%C3/%A9", id="UTF-8 over a slash"),
        pytest.param(b"/%ED%A0%80", id="surrogate"),
        pytest.param("/café".encode(), id="raw UTF-8"),
        pytest.param(b"/caf\xe9", id="raw latin-1"),
        pytest.param(b"/admin;x", id="raw semicolon"),
        pytest.param(b"/admin;", id="raw semicolon at the end"),
        pytest.param(b"/a b", id="blank"),
        pytest.param(b"/a\tb", id="tab"),
        *(pytest.param(b"/a" + bytes((sign,)), id=f"raw {chr(sign)}") for sign in b'"<>^`{}'),
        pytest.param(b"", id="nothing"),
        pytest.param(b"*", id="asterisk form"),
        pytest.param(b"app.example.com:443", id="authority form"),
        pytest.param(b"admin", id="no slash at all"),
        pytest.param(b"?x=1", id="query alone"),
        pytest.param(b"%2fadmin", id="escaped slash first"),
        pytest.param(b"\\admin", id="backslash first"),
    ],
)
def test_t01_what_two_readers_could_take_for_different_paths_is_refused(raw: bytes) -> None:
    assert canonical(raw, HOST) is Reason.BAD_TARGET


@pytest.mark.parametrize(
    ("raw", "path", "segments"),
    [
        pytest.param(b"/", "/", ("",), id="root"),
        pytest.param(b"/a", "/a", ("a",), id="one segment"),
        pytest.param(b"/a/", "/a/", ("a", ""), id="trailing slash"),
        pytest.param(b"/%61/", "/a/", ("a", ""), id="trailing slash after an escape"),
        pytest.param(b"/%61dmin", "/admin", ("admin",), id="escaped letter"),
        pytest.param(b"/%7euser/%2Dx%5F", "/~user/-x_", ("~user", "-x_"), id="escaped unreserved signs"),
        pytest.param(b"/it%20em", "/it%20em", ("it em",), id="blank"),
        pytest.param(b"/caf%c3%a9", "/caf%C3%A9", ("café",), id="small hex digits"),
        pytest.param(b"/a%3bb", "/a%3Bb", ("a;b",), id="escaped semicolon"),
        pytest.param(b"/a%2cb,c", "/a%2Cb,c", ("a,b,c",), id="escaped comma stays apart from a plain one"),
        pytest.param(b"/100%25", "/100%25", ("100%",), id="percent at the end"),
        pytest.param(b"/100%25/x", "/100%25/x", ("100%", "x"), id="percent before a slash"),
        pytest.param(b"/100%25%20", "/100%25%20", ("100% ",), id="percent before a blank"),
        pytest.param(b"/%25zz", "/%25zz", ("%zz",), id="percent before other letters"),
        pytest.param(b"/.well-known/x", "/.well-known/x", (".well-known", "x"), id="hidden name"),
        pytest.param(b"/...", "/...", ("...",), id="three dots"),
        pytest.param(b"/a./..b/c..", "/a./..b/c..", ("a.", "..b", "c.."), id="dots beside letters"),
        pytest.param(b"/%2e%2ea", "/..a", ("..a",), id="escaped dots beside a letter"),
        pytest.param(b"/a|b[c]", "/a|b[c]", ("a|b[c]",), id="what browsers send raw"),
        pytest.param(b"/!$&'()*+,=:@", "/!$&'()*+,=:@", ("!$&'()*+,=:@",), id="every other sign"),
        pytest.param(b"/%EF%BC%8Fx", "/%EF%BC%8Fx", ("／x",), id="fullwidth slash is a letter"),
        pytest.param(b"/%e2%80%a8", "/%E2%80%A8", ("\u2028",), id="line separator is a letter"),
    ],
)
def test_t01_a_path_has_one_spelling(raw: bytes, path: str, segments: tuple[str, ...]) -> None:
    assert canonical(raw, HOST) == Target(path, segments)


@pytest.mark.parametrize(
    ("raw", "query"),
    [
        pytest.param(b"/p", None, id="none"),
        pytest.param(b"/p?", "", id="empty"),
        pytest.param(b"/p?x=/public/", "x=/public/", id="a path"),
        pytest.param(b"/p?/../public", "/../public", id="dots"),
        pytest.param(b"/p?a=1;b=2&a=%2f%00%zz", "a=1;b=2&a=%2f%00%zz", id="nothing is decoded"),
        pytest.param(b"/p??a?b", "?a?b", id="more question marks"),
        pytest.param(b'/p?a="<>\\^`{|}', 'a="<>\\^`{|}', id="what a path may not have"),
        pytest.param(b"/p?caf\xc3\xa9=\xff", "caf\xc3\xa9=\xff", id="any high bytes"),
        pytest.param(b"/%70?%70", "%70", id="beside an escaped path"),
    ],
)
def test_t02_a_query_is_kept_byte_for_byte_and_decides_nothing(raw: bytes, query: str | None) -> None:
    target = accepted(raw)

    assert (target.path, target.segments, target.query) == ("/p", ("p",), query)
    assert target.text.encode("latin-1").partition(b"?")[2] == raw.partition(b"?")[2]


@pytest.mark.parametrize("path", [b"/p", b"/%70"])
@pytest.mark.parametrize("sign", [b" ", b"#", b"\x00", b"\t", b"\r", b"\n", b"\x1f", b"\x7f"])
def test_t02_a_query_with_a_control_a_blank_or_a_hash_is_refused(path: bytes, sign: bytes) -> None:
    assert canonical(path + b"?a=" + sign) is Reason.BAD_TARGET


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        pytest.param(b"http://app.example.com/admin", "/admin", id="http"),
        pytest.param(b"https://app.example.com/admin?x", "/admin?x", id="https with a query"),
        pytest.param(b"HTTP://APP.Example.COM/%61", "/a", id="other case"),
        pytest.param(b"http://app.example.com", "/", id="no path"),
        pytest.param(b"http://app.example.com?x=1", "/?x=1", id="query without path"),
    ],
)
def test_t03_an_absolute_target_with_our_authority_is_its_path(raw: bytes, text: str) -> None:
    assert accepted(raw).text == text


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"http://evil.example/admin", id="other host"),
        pytest.param(b"http://app.example.com:8080/admin", id="other port"),
        pytest.param(b"http://app.example.com.evil.example/", id="longer host"),
        pytest.param(b"http://ada@app.example.com/admin", id="userinfo"),
        pytest.param(b"http://app.example.com@evil.example/", id="our host as userinfo"),
        pytest.param(b"http://app.example.com\\@evil.example/", id="backslash in the authority"),
        pytest.param(b"http:///admin", id="no authority"),
        pytest.param(b"http:/admin", id="one slash"),
        pytest.param(b"http:admin", id="no slash"),
        pytest.param(b"ws://app.example.com/admin", id="ws"),
        pytest.param(b"wss://app.example.com/admin", id="wss"),
        pytest.param(b"ftp://app.example.com/admin", id="ftp"),
        pytest.param(b"//app.example.com/admin", id="no scheme"),
        pytest.param(b"http://app.example.com//admin", id="empty segment behind it"),
        pytest.param(b"http://app.example.com/../admin", id="dots behind it"),
        pytest.param(b"http://app.example.com#/admin", id="hash behind it"),
        pytest.param(b"http://app.example.com/a\n/b", id="line feed behind it"),
    ],
)
def test_t03_any_other_absolute_target_is_refused(raw: bytes) -> None:
    assert canonical(raw, HOST) is Reason.BAD_TARGET


def test_t03_without_a_host_no_absolute_target_is_taken() -> None:
    assert canonical(b"http:///admin", "") is Reason.BAD_TARGET
    assert canonical(b"http://app.example.com/admin") is Reason.BAD_TARGET


@pytest.mark.parametrize("filling", [b"a", b"%7E", b"/a", b"?"], ids=["letters", "escapes", "segments", "query"])
def test_t18_a_target_is_as_long_as_it_may_be_and_no_longer(filling: bytes) -> None:
    longest = (b"/x" + filling * MAX_TARGET_BYTES)[: MAX_TARGET_BYTES - MAX_TARGET_BYTES % len(filling)].rstrip(b"/%7")
    longest += b"y" * (MAX_TARGET_BYTES - len(longest))

    assert isinstance(canonical(longest), Target)
    assert canonical(longest + b"y") is Reason.BAD_TARGET


@pytest.mark.parametrize(
    ("raw", "prefix", "text"),
    [
        pytest.param(b"/jobs/x", "/jobs", "/x", id="one segment left"),
        pytest.param(b"/jobs", "/jobs", "/", id="nothing left"),
        pytest.param(b"/jobs/", "/jobs", "/", id="a slash left"),
        pytest.param(b"/jobs/x/?q=%2f", "/jobs", "/x/?q=%2f", id="trailing slash and query stay"),
        pytest.param(b"/jobs?\xff", "/jobs", "/?\xff", id="query bytes stay"),
        pytest.param(b"/jobs/x?", "/jobs", "/x?", id="empty query stays"),
        pytest.param(b"/a/b/c%20d", "/a/b", "/c%20d", id="prefix of two segments"),
        pytest.param(b"/%6aobs/x", "/jobs", "/x", id="escaped in the request"),
        pytest.param(b"/jobs/jobs/x", "/jobs", "/jobs/x", id="only once"),
        pytest.param(b"/x", "", "/x", id="no prefix"),
    ],
)
def test_a_prefix_is_taken_off_at_a_segment_border(raw: bytes, prefix: str, text: str) -> None:
    stripped = strip_prefix(accepted(raw), prefix)

    assert isinstance(stripped, Target)
    assert stripped.text == text
    assert stripped == canonical(text.encode("latin-1"))


@pytest.mark.parametrize("raw", [b"/jobsx", b"/jobs%2Cx", b"/job", b"/x/jobs", b"/", b"/JOBS/x"])
def test_a_path_without_the_prefix_is_not_cut(raw: bytes) -> None:
    assert strip_prefix(accepted(raw), "/jobs") is Reason.BAD_TARGET


def test_t01_what_is_left_of_a_path_is_judged_again() -> None:
    # No `canonical` would make this one; what the rewrite sends is refused all the same.
    odd = Target("/public/../admin", ("public", "..", "admin"))

    assert strip_prefix(odd, "/public") is Reason.BAD_TARGET
    assert strip_prefix(Target("/public//evil.example", ("public", "", "evil.example")), "/public") is Reason.BAD_TARGET


@given(RAW_TARGETS, st.sampled_from(["", HOST, "é"]))
def test_t01_any_bytes_are_a_target_or_refused(raw: bytes, authority: str) -> None:
    target = canonical(raw, authority)

    assert isinstance(target, Target) or target is Reason.BAD_TARGET


@given(RAW_TARGETS)
def test_t01_the_canonical_spelling_of_a_target_is_its_own(raw: bytes) -> None:
    target = canonical(raw)
    if isinstance(target, Target):
        assert canonical(target.text.encode("latin-1")) == target


@given(RAW_TARGETS)
def test_t01_the_path_that_is_matched_is_the_path_that_is_sent(raw: bytes) -> None:
    target = canonical(raw)
    if isinstance(target, Target):
        sent = target.path
        assert tuple(unquote(part, errors="strict") for part in sent[1:].split("/")) == target.segments
        assert unquote_to_bytes(raw.partition(b"?")[0]) == unquote_to_bytes(sent)


@given(RAW_TARGETS)
def test_t01_a_naive_resolver_behind_finds_nothing_to_resolve(raw: bytes) -> None:
    target = canonical(raw)
    if isinstance(target, Target):
        decoded = unquote(target.path)
        assert not {".", ".."} & {segment.partition(";")[0] for segment in target.segments}
        assert posixpath.normpath(decoded) == (decoded.rstrip("/") or "/")
        assert unquote(decoded) == decoded, "a second decoding sees another path"


@given(RAW_PATHS, st.sampled_from(["/a", "/Z/9", "/a/a"]))
def test_a_prefix_put_before_a_path_comes_off_again(raw: bytes, prefix: str) -> None:
    target = canonical(raw)
    if isinstance(target, Target):
        longer = accepted(prefix.encode() + target.text.encode("latin-1"))
        assert strip_prefix(longer, prefix) == target
