"""What the route file says of how an upstream is told who calls: header names, assertions and their keys."""

from pathlib import Path
from textwrap import dedent

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.core.errors import ConfigError
from gateway.core.model import X_AUTH, AssertionRules, Upstream
from gateway.routefile import Config, parse

FILE = """
version: 1
descope: {{project_id: P2demo0000000000000000000000}}
server: {{public_urls: ["https://app.example.com", "https://other.example.com"]}}
{top}
upstreams:
  legacy: {{url: "http://127.0.0.1:9000", {legacy}}}
{defaults}
routes: [{{id: all, match: {{path: "/**"}}, upstream: legacy, {route}}}]
"""


def read(legacy: str = "", *, top: str = "", route: str = "", defaults: str = "") -> Config:
    return parse(dedent(FILE).format(legacy=legacy, top=top, route=route, defaults=defaults), "routes.yaml", {})


def problems(legacy: str = "", **others: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as told:
        read(legacy, **others)
    return told.value.problems


def upstream(legacy: str) -> Upstream:
    (found,) = read(legacy).upstreams
    return found


# --- header names ---------------------------------------------------------------------------------------------------


def test_an_upstream_is_told_under_our_names_where_nothing_is_said() -> None:
    assert upstream("profile: false").identity_headers == X_AUTH
    assert X_AUTH.reserved == frozenset()


def test_a_preset_renames_what_it_names_and_leaves_the_rest() -> None:
    remote_user = upstream("identity_headers: remote-user").identity_headers
    oauth2_proxy = upstream("identity_headers: {preset: oauth2-proxy}").identity_headers

    assert dict(remote_user.names) == {
        "subject": "Remote-User",
        "email": "Remote-Email",
        "name": "Remote-Name",
        "roles": "Remote-Groups",
        "permissions": "X-Auth-Permissions",
        "tenant": "X-Auth-Tenant",
        "method": "X-Auth-Method",
        "key_id": "X-Auth-Key-Id",
    }
    assert remote_user.reserved == {b"remote-user", b"remote-email", b"remote-name", b"remote-groups"}
    assert dict(oauth2_proxy.names) == {
        **dict(X_AUTH.names),
        "subject": "X-Forwarded-User",
        "email": "X-Forwarded-Email",
        "username": "X-Forwarded-Preferred-Username",
        "roles": "X-Forwarded-Groups",
    }
    assert len(oauth2_proxy.reserved) == 4


def test_names_of_ones_own_are_reserved_in_the_spelling_that_services_fold_to() -> None:
    found = upstream("identity_headers: {preset: remote-user, email: remote_USER, tenant: X.Org}").identity_headers

    assert dict(found.names)["email"] == "remote_USER"
    assert dict(found.names)["subject"] == "X-Auth-Subject"
    assert found.reserved == {b"remote-user", b"remote-email", b"remote-name", b"remote-groups", b"x-org"}


@pytest.mark.parametrize(
    ("legacy", "words"),
    [
        pytest.param(
            "remote-usr",
            "'remote-usr' is none of remote-user, oauth2-proxy; did you mean remote-user?",
            id="no such preset",
        ),
        pytest.param("{preset: authelia}", "'authelia' is none of", id="no such preset in a map"),
        pytest.param("{subjekt: X-User}", "did you mean 'subject'?", id="no such noun"),
        pytest.param("[remote-user]", "a mapping is wanted here", id="a list"),
        pytest.param("{subject: Cookie}", "Cookie says something else already", id="a credential"),
        pytest.param("{subject: x_api_key}", "x_api_key says something else already", id="a credential folded"),
        pytest.param("{subject: Authorization}", "Authorization says something else", id="authorization"),
        pytest.param("{subject: Host}", "Host says something else already", id="host"),
        pytest.param("{subject: Connection}", "Connection says something else already", id="one connection's"),
        pytest.param("{subject: X-Forwarded-For}", "X-Forwarded-For says something else", id="the forwarded family"),
        pytest.param("{subject: X.Real.IP}", "X.Real.IP says something else", id="the forwarded family folded"),
        pytest.param("{subject: X-HTTP-Method}", "says something else", id="another method"),
        pytest.param("{subject: X-Gateway-User}", "says something else", id="ours to control"),
        pytest.param("{subject: X-Auth-Assertion}", "says something else", id="the assertion"),
        pytest.param("{subject: X-Request-Id}", "says something else", id="the request id"),
        pytest.param('{subject: "X User"}', "is no header name", id="no header name"),
        pytest.param("{subject: X_Auth_Roles}", "X_Auth_Roles is where services expect the roles", id="another noun's"),
        pytest.param("{subject: X-User, email: x_user}", "email and subject are one header", id="one for two"),
    ],
)
def test_names_that_would_mislead_are_told(legacy: str, words: str) -> None:
    (told,) = problems(f"identity_headers: {legacy}")

    assert words in told


@pytest.mark.parametrize(
    ("route", "defaults"),
    [
        pytest.param("headers: {set: {Remote_User: x}}", "", id="a route"),
        pytest.param("", "defaults: {headers: {set: {remote-user: x}}}", id="the defaults"),
        pytest.param("headers: {set: {Remote-Groups: x}}", "", id="another name of the preset"),
    ],
)
def test_a_route_sets_no_header_that_says_who_calls(route: str, defaults: str) -> None:
    (told,) = problems("identity_headers: remote-user", route=route, defaults=defaults)

    assert "the upstream 'legacy' is told who calls in it (identity_headers); drop one" in told
    assert read("", route=route, defaults=defaults).warnings == ()


def test_a_token_and_an_identity_header_do_not_meet() -> None:
    (told,) = problems("forward_token: bearer", route="headers: {set: {Authorization: x}}")

    assert "gets the session token as Authorization; drop one" in told


# --- assertions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "audience"),
    [("assertion: true", "legacy"), ("assertion: false", ""), ("", ""), ("assertion: urn:billing", "urn:billing")],
    ids=["on", "off", "not said", "an audience"],
)
def test_the_audience_is_the_upstreams_name_or_what_is_said(written: str, audience: str) -> None:
    assert upstream(written).assertion == audience


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("1", "true, false or the audience"),
        ("yes", "write true or false plainly"),
        ('"true"', "write true or false plainly"),
        ('""', "compared byte for byte"),
        ('"two words"', "compared byte for byte"),
        ("é", "compared byte for byte"),
    ],
)
def test_an_audience_that_would_mislead_is_told(written: str, words: str) -> None:
    (told,) = problems(f"assertion: {written}")

    assert words in told
    assert "upstreams.legacy.assertion: " in told


def test_the_issuer_is_the_first_public_url_or_what_is_said() -> None:
    assert read("assertion: true").assertion == AssertionRules("https://app.example.com", "", 86_400.0)
    assert read("assertion: true", top="assertion: {issuer: urn:gateway, rotate: 2h}").assertion == AssertionRules(
        "urn:gateway", "", 7_200.0
    )


def test_a_key_file_is_tried_when_the_route_file_is_read(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    good.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    bad.write_text("words")

    found = read("assertion: true", top=f"assertion: {{key_file: {good}}}")

    assert (found.assertion.key_file, found.warnings) == (str(good), ())
    for file, words in ((bad, "no private key in the form PEM"), (tmp_path / "none.pem", "No such file")):
        (told,) = problems("assertion: true", top=f"assertion: {{key_file: {file}}}")
        assert told.startswith("routes.yaml:5:23: assertion.key_file: ")
        assert words in told
    (told,) = problems("assertion: true", top="assertion: {key_file: keys.pem}")
    assert "absolute path" in told


@pytest.mark.parametrize(("rotate", "is_right"), [("19m", False), ("20m", True)], ids=["too short", "short"])
def test_a_key_lives_longer_than_its_publication_takes(rotate: str, is_right: bool) -> None:
    top = f"assertion: {{rotate: {rotate}}}"
    if is_right:
        assert read("assertion: true", top=top).assertion.rotate_s == 1_200.0
        return
    (told,) = problems("assertion: true", top=top)
    assert "assertion.rotate: a key is published for 10m before it signs; give 20m or more" in told


def test_what_is_useless_about_assertions_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "good.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    (unasked,) = read("", top="assertion: {rotate: 2h}").warnings
    (unused,) = read("assertion: true", top=f"assertion: {{key_file: {file}, rotate: 2h}}").warnings

    assert "no upstream asks for assertions" in unasked
    assert "keys from a file change with the file" in unused
