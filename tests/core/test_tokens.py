"""Tokens: which are genuine and ours, what they say, and that nothing forged gets that far."""

import dataclasses
import hashlib
import json
import string
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core.keyset import KeySet, read_keys, unbase64url
from gateway.core.model import Grants, Identity, Kind, Reason, RefreshToken, TokenRules
from gateway.core.tokens import (
    MAX_TOKEN_CHARS,
    Signed,
    claims_our_issuer,
    digest_of,
    identity,
    is_jwt,
    refresh,
    session,
    signed,
    standing,
)
from tests.core.conftest import ABSENT, ADA, NOW_S, PROJECT, Mint, ada, ada_refresh, as_json, b64, jwk

RULES = TokenRules(PROJECT)
OTHER_PROJECT = "P2else0000000000000000000000"
HEADER = {"alg": "RS256", "kid": "rsa", "typ": "JWT"}
ATTACKER = ec.generate_private_key(ec.SECP256R1())
MALFORMED = Reason.TOKEN_MALFORMED
BAD_SIGNATURE = Reason.TOKEN_BAD_SIGNATURE
UNKNOWN_KEY = Reason.TOKEN_UNKNOWN_KEY


@dataclasses.dataclass(frozen=True)
class Forge:
    """What a forger has at hand, and the true keys for tokens that are signed well and wrong all the same."""

    mint: Mint
    rsa_key: rsa.RSAPrivateKey
    ec_key: ec.EllipticCurvePrivateKey

    @property
    def good(self) -> str:
        return self.mint(ADA)

    @property
    def parts(self) -> list[str]:
        return self.good.split(".")

    @property
    def pem(self) -> bytes:
        public = self.rsa_key.public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def unsigned(self, algorithm: Any, tail: str = "AA") -> str:
        return f"{b64(as_json({**HEADER, 'alg': algorithm}))}.{b64(as_json(ADA))}.{tail}"

    def payload(self, raw: bytes) -> str:
        """Signed well, whatever it is."""
        return self.mint(raw)

    def header(self, **changes: Any) -> str:
        """Signed well, under this header."""
        return self.mint(ADA, headers=changes)


@pytest.fixture(scope="session")
def forge(mint: Mint, rsa_key: rsa.RSAPrivateKey, ec_key: ec.EllipticCurvePrivateKey) -> Forge:
    return Forge(mint, rsa_key, ec_key)


Forgery = Callable[[Forge], str]


def identity_of(found: Identity | Reason) -> Identity:
    assert isinstance(found, Identity), found
    return found


# --- genuine tokens -------------------------------------------------------------------------------------------------


def test_a_genuine_session_names_its_caller(mint: Mint, keys: KeySet) -> None:
    token = mint(ada(nbf=NOW_S - 1, dct="acme", nsec={"role": "admin"}))

    found = session(token, keys, RULES)

    assert found == Identity(
        kind=Kind.SESSION,
        subject="U2ada00000000000000000000000",
        issued_at_s=NOW_S,
        not_before_s=NOW_S - 1,
        expires_at_s=NOW_S + 600,
        project=Grants(("editor", "admin"), ("docs.read",)),
        tenants={"acme": Grants(("owner",), ("docs.write",)), "globex": Grants()},
        selected_tenant="acme",
        claims=ada(nbf=NOW_S - 1, dct="acme"),
        digest=hashlib.sha256(token.rpartition(".")[0].encode()).digest(),
    )


def test_a_genuine_refresh_token_names_its_owner(mint: Mint, keys: KeySet) -> None:
    token = mint(ada_refresh(nbf=NOW_S - 2))

    found = refresh(token, keys, RULES)

    digest = hashlib.sha256(token.rpartition(".")[0].encode()).digest()
    assert found == RefreshToken("U2ada00000000000000000000000", NOW_S, NOW_S - 2, NOW_S + 86_400, digest)


def test_a_token_of_each_key_in_the_set_verifies(mint: Mint, keys: KeySet, ec_key: ec.EllipticCurvePrivateKey) -> None:
    assert isinstance(session(mint(ADA), keys, RULES), Identity)
    assert isinstance(session(mint(ADA, key=ec_key, headers={"kid": "ec"}), keys, RULES), Identity)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"jku": "https://evil.example/keys"}, id="jku"),
        pytest.param({"x5u": "https://evil.example/cert"}, id="x5u"),
        pytest.param({"jwk": jwk(ATTACKER, "rsa")}, id="embedded jwk"),
        pytest.param({"x5c": ["MIIB"]}, id="x5c"),
        pytest.param({"typ": ABSENT}, id="no typ"),
        pytest.param({"typ": "at+jwt"}, id="another typ"),
    ],
)
def test_t12_header_members_that_point_to_keys_change_nothing(forge: Forge, keys: KeySet, headers: Any) -> None:
    assert isinstance(session(forge.header(**headers), keys, RULES), Identity)


# --- forgeries ------------------------------------------------------------------------------------------------------

FORGERIES: dict[str, tuple[Forgery, Reason]] = {
    # the algorithm
    "alg none": (lambda f: f.unsigned("none"), BAD_SIGNATURE),
    "alg None": (lambda f: f.unsigned("None"), BAD_SIGNATURE),
    "alg nOnE": (lambda f: f.unsigned("nOnE"), BAD_SIGNATURE),
    "alg NONE with the signature of another token": (lambda f: f.unsigned("NONE", f.parts[2]), BAD_SIGNATURE),
    "alg none without signature": (lambda f: f.unsigned("none", ""), MALFORMED),
    "alg none and an unknown kid asks for no key": (
        lambda f: f.mint(ADA, b"x", {"alg": "none", "kid": "unheard"}),
        BAD_SIGNATURE,
    ),
    "alg HS256 and an unknown kid asks for no key": (lambda f: f.mint(ADA, b"x", {"kid": "unheard"}), BAD_SIGNATURE),
    "alg HS256 with the public PEM": (lambda f: f.mint(ADA, f.pem), BAD_SIGNATURE),
    "alg HS256 with the stripped PEM": (lambda f: f.mint(ADA, f.pem.strip()), BAD_SIGNATURE),
    "alg HS256 with the JWK text": (
        lambda f: f.mint(ADA, json.dumps(jwk(f.rsa_key, "rsa")).encode()),
        BAD_SIGNATURE,
    ),
    "alg HS256 signed by the true key": (lambda f: f.header(alg="HS256"), BAD_SIGNATURE),
    "alg RS512 of an RS256 key": (lambda f: f.mint(ADA, None, {"alg": "RS512"}, "RS512"), BAD_SIGNATURE),
    "alg PS256 of an RS256 key": (lambda f: f.mint(ADA, None, {"alg": "PS256"}, "PS256"), BAD_SIGNATURE),
    "alg PS256 said, RS256 signed": (lambda f: f.header(alg="PS256"), BAD_SIGNATURE),
    "alg RS256 said, PS256 signed": (lambda f: f.mint(ADA, signed_as="PS256"), BAD_SIGNATURE),
    "ES256 under the RSA key's kid": (lambda f: f.mint(ADA, f.ec_key), BAD_SIGNATURE),
    "RS256 under the EC key's kid": (lambda f: f.header(kid="ec"), BAD_SIGNATURE),
    "ES256 said for the RSA key": (lambda f: f.header(alg="ES256"), BAD_SIGNATURE),
    "ES256 of another curve": (
        lambda f: f.mint(ADA, ec.generate_private_key(ec.SECP384R1()), {"alg": "ES256", "kid": "ec"}),
        BAD_SIGNATURE,
    ),
    "ES384 under an ES256 kid": (
        lambda f: f.mint(ADA, ec.generate_private_key(ec.SECP384R1()), {"kid": "ec"}),
        BAD_SIGNATURE,
    ),
    "ES256 with r and s of zero": (
        lambda f: f.mint(ADA, f.ec_key, {"kid": "ec"}).rpartition(".")[0] + "." + b64(bytes(64)),
        BAD_SIGNATURE,
    ),
    "alg in small letters": (lambda f: f.header(alg="rs256"), BAD_SIGNATURE),
    "no alg": (lambda f: f.header(alg=ABSENT), MALFORMED),
    "alg null": (lambda f: f.header(alg=None), MALFORMED),
    "alg as list": (lambda f: f.header(alg=["RS256"]), MALFORMED),
    # the key
    "signed by somebody else": (lambda f: f.mint(ADA, ATTACKER, {"kid": "ec"}), BAD_SIGNATURE),
    "signed by the embedded jwk": (
        lambda f: f.mint(ADA, ATTACKER, {"kid": "ec", "jwk": jwk(ATTACKER, "ec")}),
        BAD_SIGNATURE,
    ),
    "signed by the embedded jwk under its own kid": (
        lambda f: f.mint(ADA, ATTACKER, {"kid": "mine", "jwk": jwk(ATTACKER, "mine")}),
        UNKNOWN_KEY,
    ),
    "unknown kid": (lambda f: f.header(kid="unheard"), UNKNOWN_KEY),
    "kid as path": (lambda f: f.header(kid="../../../../dev/null"), UNKNOWN_KEY),
    "kid as SQL": (lambda f: f.header(kid="rsa' UNION SELECT 'AA' --"), UNKNOWN_KEY),
    "kid as URL": (lambda f: f.header(kid="https://evil.example/rsa"), UNKNOWN_KEY),
    "kid in other letters": (lambda f: f.header(kid="RSA"), UNKNOWN_KEY),
    "kid with a blank": (lambda f: f.header(kid="rsa "), UNKNOWN_KEY),
    "no kid": (lambda f: f.header(kid=ABSENT), MALFORMED),
    "kid null": (lambda f: f.header(kid=None), MALFORMED),
    "kid as number": (lambda f: f.header(kid=0), MALFORMED),
    "kid as list": (lambda f: f.header(kid=["rsa"]), MALFORMED),
    "empty kid": (lambda f: f.header(kid=""), MALFORMED),
    "kid of 257 characters": (lambda f: f.header(kid="k" * 257), MALFORMED),
    # members that change what is signed
    "crit": (lambda f: f.header(crit=["exp"]), MALFORMED),
    "empty crit": (lambda f: f.header(crit=[]), MALFORMED),
    "b64 false": (lambda f: f.header(b64=False), MALFORMED),
    "b64 true": (lambda f: f.header(b64=True), MALFORMED),
    "zip": (lambda f: f.header(zip="DEF"), MALFORMED),
    "crit null": (lambda f: f.header(crit=None), MALFORMED),
    # the header as JSON
    "duplicate member in the header": (
        lambda f: f.mint(ADA, headers=b'{"alg":"RS256","kid":"rsa","kid":"rsa"}'),
        MALFORMED,
    ),
    "duplicate member nested in the header": (
        lambda f: f.mint(ADA, headers=b'{"alg":"RS256","kid":"rsa","x":{"a":1,"a":1}}'),
        MALFORMED,
    ),
    "header as list": (lambda f: f.mint(ADA, headers=b'["RS256","rsa"]'), MALFORMED),
    "header with a byte-order mark": (
        lambda f: f.mint(ADA, headers=b'\xef\xbb\xbf{"alg":"RS256","kid":"rsa"}'),
        MALFORMED,
    ),
    "header in UTF-16": (lambda f: f.mint(ADA, headers='{"alg":"RS256","kid":"rsa"}'.encode("utf-16-le")), MALFORMED),
    "header of invalid UTF-8": (lambda f: f.mint(ADA, headers=b'{"alg":"RS256","kid":"rsa","x":"\xff"}'), MALFORMED),
    "header with half a surrogate pair": (
        lambda f: f.mint(ADA, headers=b'{"alg":"RS256","kid":"rsa","x":"\\ud800"}'),
        MALFORMED,
    ),
    "header with something behind": (lambda f: f.mint(ADA, headers=b'{"alg":"RS256","kid":"rsa"}{}'), MALFORMED),
    "header nested without end": (lambda f: f.mint(ADA, headers=b'{"x":' + b"[" * 9000), MALFORMED),
    "header nested and closed": (lambda f: f.mint(ADA, headers=b"[" * 4000 + b"]" * 4000), MALFORMED),
    # the payload as JSON, signed well
    "duplicate member": (lambda f: f.payload(as_json(ADA)[:-1] + b',"sub":"U2bob"}'), MALFORMED),
    "duplicate member spelt with an escape": (
        lambda f: f.payload(as_json(ADA)[:-1] + b',"\\u0073ub":"U2bob"}'),
        MALFORMED,
    ),
    "duplicate member nested": (lambda f: f.payload(as_json(ADA)[:-1] + b',"x":[{"a":1,"a":2}]}'), MALFORMED),
    "byte-order mark": (lambda f: f.payload(b"\xef\xbb\xbf" + as_json(ADA)), MALFORMED),
    "payload as list": (lambda f: f.payload(b"[]"), MALFORMED),
    "payload as list with the claims": (lambda f: f.payload(b"[" + as_json(ADA) + b"]"), MALFORMED),
    "payload as text": (lambda f: f.payload(b'"claims"'), MALFORMED),
    "payload null": (lambda f: f.payload(b"null"), MALFORMED),
    "payload no JSON": (lambda f: f.payload(b"sub=U2ada"), MALFORMED),
    "payload of invalid UTF-8": (lambda f: f.payload(as_json(ADA)[:-1] + b',"name":"\xc0\xaf"}'), MALFORMED),
    "payload in UTF-16": (lambda f: f.payload(as_json(ADA).decode().encode("utf-16")), MALFORMED),
    "half a surrogate pair": (lambda f: f.payload(as_json(ADA)[:-1] + b',"name":"\\uDC00"}'), MALFORMED),
    "something behind the payload": (lambda f: f.payload(as_json(ADA) + b" x"), MALFORMED),
    "two payloads": (lambda f: f.payload(as_json(ADA) + as_json(ADA)), MALFORMED),
    "a form feed before the payload": (lambda f: f.payload(b"\f" + as_json(ADA)), MALFORMED),
    "a no-break space behind the payload": (lambda f: f.payload(as_json(ADA) + b"\xc2\xa0"), MALFORMED),
    "nothing but blanks": (lambda f: f.payload(b" \r\n\t"), MALFORMED),
    "a line break inside a text": (lambda f: f.payload(as_json(ADA)[:-1] + b',"name":"a\nb"}'), MALFORMED),
    "NaN": (lambda f: f.payload(as_json(ADA)[:-1] + b',"x":NaN}'), MALFORMED),
    "minus Infinity": (lambda f: f.payload(as_json(ADA)[:-1] + b',"x":-Infinity}'), MALFORMED),
    "number 1e400": (lambda f: f.payload(as_json(ADA)[:-1] + b',"x":1e400}'), MALFORMED),
    "number -1e400 nested": (lambda f: f.payload(as_json(ADA)[:-1] + b',"x":[-1e400]}'), MALFORMED),
    "number of 5,000 digits": (lambda f: f.payload(as_json(ADA)[:-1] + b',"x":' + b"9" * 5000 + b"}"), MALFORMED),
    "payload nested without end": (lambda f: f.payload(b'{"x":' + b"[" * 9000), MALFORMED),
    "payload nested and closed": (
        lambda f: f.payload(as_json(ADA)[:-1] + b',"x":' + b"[" * 4000 + b"]" * 4000 + b"}"),
        MALFORMED,
    ),
    # the spelling
    "empty": (lambda f: "", MALFORMED),
    "two dots": (lambda f: "..", MALFORMED),
    "one segment": (lambda f: f.parts[0], MALFORMED),
    "two segments": (lambda f: ".".join(f.parts[:2]), MALFORMED),
    "four segments": (lambda f: f.good + ".AA", MALFORMED),
    "a dot behind": (lambda f: f.good + ".", MALFORMED),
    "no signature": (lambda f: ".".join(f.parts[:2]) + ".", MALFORMED),
    "no payload": (lambda f: f.mint.seal(f.parts[0], ""), MALFORMED),
    "no header": (lambda f: f.mint.seal("", f.parts[1]), MALFORMED),
    "padded signature": (lambda f: f.good + "==", MALFORMED),
    "padded header, signed so": (
        lambda f: f.mint.seal(b64(b'{"alg":"RS256","kid":"rsa"}x'[:-1]) + "=", "AA"),
        MALFORMED,
    ),
    "padded payload, signed so": (lambda f: f.mint.seal(f.parts[0], b64(as_json(ADA) + b" ") + "="), MALFORMED),
    "one padding too few": (lambda f: f.good + "=", MALFORMED),
    "blank in front": (lambda f: " " + f.good, MALFORMED),
    "line break behind": (lambda f: f.good + "\n", MALFORMED),
    "blank within": (lambda f: f.good[:50] + " " + f.good[50:], MALFORMED),
    "line break in the signature": (lambda f: f.good[:-9] + "\n" + f.good[-9:], MALFORMED),
    "blank in the payload, signed so": (
        lambda f: f.mint.seal(f.parts[0], f.parts[1][:8] + " " + f.parts[1][8:]),
        MALFORMED,
    ),
    "the other alphabet": (lambda f: f.mint.seal(f.parts[0], b64(b'{"x":"\x7f?>~~"}') + "+/"), MALFORMED),
    "a letter outside ASCII": (lambda f: f.good[:-1] + "\u0410", MALFORMED),
    "a fullwidth dot": (lambda f: f.good.replace(".", "\uff0e"), MALFORMED),
    "a zero byte behind": (lambda f: f.good + "\0", MALFORMED),
    "Bearer in front": (lambda f: "Bearer " + f.good, MALFORMED),
    "signature cut short": (lambda f: ".".join([*f.parts[:2], b64(unbase64url(f.parts[2])[:-1])]), BAD_SIGNATURE),
    "signature lengthened": (lambda f: f.good[:-2] + "AAAAAA", BAD_SIGNATURE),
    "signature of one byte": (lambda f: ".".join(f.parts[:2]) + ".AA", BAD_SIGNATURE),
    "payload of another token": (
        lambda f: ".".join([f.parts[0], b64(as_json(ada(sub="U2bob"))), f.parts[2]]),
        BAD_SIGNATURE,
    ),
    "header and payload swapped": (lambda f: ".".join([f.parts[1], f.parts[0], f.parts[2]]), MALFORMED),
    "a payload is not read before its signature": (
        lambda f: f"{f.parts[0]}.{b64(b'no claims')}.{f.parts[2]}",
        BAD_SIGNATURE,
    ),
    "claims are not judged before their signature": (
        lambda f: f"{f.parts[0]}.{b64(as_json({'iss': OTHER_PROJECT, 'drn': 'DSR'}))}.{f.parts[2]}",
        BAD_SIGNATURE,
    ),
    "a million dots": (lambda f: "." * 10**6, MALFORMED),
    "200 KB": (lambda f: f.good + "A" * 200_000, MALFORMED),
}


@pytest.mark.parametrize(("forgery", "reason"), FORGERIES.values(), ids=FORGERIES.keys())
def test_t12_a_forged_session_is_refused(forge: Forge, keys: KeySet, forgery: Forgery, reason: Reason) -> None:
    assert session(forgery(forge), keys, RULES) is reason


def test_white_space_of_json_may_stand_around_the_claims(forge: Forge, keys: KeySet) -> None:
    assert isinstance(session(forge.payload(b" \t\r\n" + as_json(ADA) + b"\n\r\t "), keys, RULES), Identity)


def test_what_was_signed_says_who_it_is_once_more(forge: Forge, keys: KeySet) -> None:
    found = signed(forge.good, keys)

    assert isinstance(found, Signed)
    assert identity(found, RULES) == session(forge.good, keys, RULES)
    assert (found.digest, found.size) == (digest_of(forge.good), len(forge.good))


@pytest.mark.parametrize(("forgery", "reason"), FORGERIES.values(), ids=FORGERIES.keys())
def test_t12_a_forged_refresh_token_is_refused(forge: Forge, keys: KeySet, forgery: Forgery, reason: Reason) -> None:
    assert refresh(forgery(forge), keys, RULES) is reason


def test_t12_stray_bits_behind_a_signature_are_no_second_spelling(forge: Forge, keys: KeySet) -> None:
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    last = alphabet.index(forge.good[-1])
    assert last % 16 == 0  # 256 bytes leave four bits over

    outcomes = {session(forge.good[:-1] + alphabet[last + bits], keys, RULES) for bits in range(1, 16)}

    assert outcomes == {MALFORMED}


def test_t12_stray_bits_are_refused_even_where_they_are_signed(forge: Forge, keys: KeySet) -> None:
    spellings = (b64(as_json(ada(x="x" * length))) for length in range(3))
    payload = next(text for text in spellings if len(text) % 4 == 2)
    stray = payload[:-1] + chr(ord(payload[-1]) + 1)

    assert isinstance(session(forge.mint.seal(forge.parts[0], payload), keys, RULES), Identity)
    assert session(forge.mint.seal(forge.parts[0], stray), keys, RULES) is MALFORMED


def test_a_token_of_16_kib_is_read_and_a_longer_one_is_not(forge: Forge, keys: KeySet) -> None:
    room = MAX_TOKEN_CHARS - len(forge.mint(ada(x="")))
    longest = forge.mint(ada(x="x" * (room * 3 // 4 - 3)))
    longer = forge.mint(ada(x="x" * (room * 3 // 4 + 3)))
    assert MAX_TOKEN_CHARS - 8 <= len(longest) <= MAX_TOKEN_CHARS < len(longer)

    assert isinstance(session(longest, keys, RULES), Identity)
    assert is_jwt(longest)
    assert session(longer, keys, RULES) is MALFORMED
    assert not is_jwt(longer)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("." * 10**6, id="a million dots"),
        pytest.param("A" * 200_000, id="200 KB of one segment"),
        pytest.param("e30." * 60_000, id="60,000 segments"),
        pytest.param("e30.e30." + "A" * 200_000, id="three segments and 200 KB"),
        pytest.param("." * MAX_TOKEN_CHARS, id="16 KiB of dots"),
        pytest.param("A" * MAX_TOKEN_CHARS, id="16 KiB of one segment"),
    ],
)
def test_t18_a_giant_token_costs_next_to_nothing(keys: KeySet, text: str) -> None:
    started_s = time.process_time()
    for _ in range(50):
        assert session(text, keys, RULES) is MALFORMED
        assert not is_jwt(text)
    spent_s = time.process_time() - started_s

    assert spent_s < 0.5


# --- whose, which kind, for whom ------------------------------------------------------------------------------------

ISSUERS_OF_OURS = {
    "bare id": PROJECT,
    "last segment": f"https://api.descope.com/{PROJECT}",
    "second-last segment": f"https://api.descope.com/v1/apps/{PROJECT}/UA2app",
    "trailing slash": f"https://api.descope.com/{PROJECT}/",
    "plain http with port": f"http://127.0.0.1:8200/{PROJECT}",
    "IPv6 host": f"http://[::1]:8200/{PROJECT}",
}
ISSUERS_OF_OTHERS: dict[str, Any] = {
    "absent": ABSENT,
    "null": None,
    "empty": "",
    "another project": OTHER_PROJECT,
    "URL of another project": f"https://api.descope.com/{OTHER_PROJECT}",
    "prefix": PROJECT[:-1],
    "suffix": PROJECT[1:],
    "lengthened": PROJECT + "0",
    "something in front": "x" + PROJECT,
    "blank behind": PROJECT + " ",
    "line break behind": PROJECT + "\n",
    "small letters": PROJECT.lower(),
    "third-last segment": f"https://api.descope.com/{PROJECT}/a/b",
    "lengthened in a URL": f"https://api.descope.com/{PROJECT}0",
    "as host": f"https://{PROJECT}",
    "as host with path": f"https://{PROJECT}/x",
    "as host, then a slash": f"https://{PROJECT}/",
    "in the query": f"https://evil.example/x?/{PROJECT}",
    "in the fragment": f"https://evil.example/x#/{PROJECT}",
    "as user": f"https://{PROJECT}@evil.example/x",
    "behind a backslash": f"https://evil.example\\/{PROJECT}",
    "percent-encoded slash": f"https://evil.example/a%2F{PROJECT}",
    "no scheme": f"api.descope.com/{PROJECT}",
    "another scheme": f"ftp://api.descope.com/{PROJECT}",
    "scheme without host": f"https:///{PROJECT}",
    "URL with a line break behind": f"https://api.descope.com/{PROJECT}\n",
    "in a list": [PROJECT],
    "in an object": {PROJECT: PROJECT},
    "number": 7,
}


@pytest.mark.parametrize("issuer", ISSUERS_OF_OURS.values(), ids=ISSUERS_OF_OURS.keys())
def test_an_issuer_of_our_project_is_accepted(mint: Mint, keys: KeySet, issuer: str) -> None:
    assert isinstance(session(mint(ada(iss=issuer)), keys, RULES), Identity)
    assert isinstance(refresh(mint(ada_refresh(iss=issuer)), keys, RULES), RefreshToken)


@pytest.mark.parametrize("issuer", ISSUERS_OF_OTHERS.values(), ids=ISSUERS_OF_OTHERS.keys())
def test_t12_an_issuer_that_is_not_our_project_is_refused(mint: Mint, keys: KeySet, issuer: object) -> None:
    assert session(mint(ada(iss=issuer)), keys, RULES) is Reason.TOKEN_WRONG_ISSUER
    assert refresh(mint(ada_refresh(iss=issuer)), keys, RULES) is Reason.TOKEN_WRONG_ISSUER


@pytest.mark.parametrize("issuer", ["", "https://api.descope.com/", "https://api.descope.com//x"])
def test_t12_without_a_project_id_no_issuer_is_ours(mint: Mint, keys: KeySet, issuer: str) -> None:
    assert session(mint(ada(iss=issuer)), keys, TokenRules("")) is Reason.TOKEN_WRONG_ISSUER


def test_t12_a_refresh_token_is_no_session(mint: Mint, keys: KeySet) -> None:
    assert session(mint(ada_refresh()), keys, RULES) is Reason.TOKEN_WRONG_KIND
    assert session(mint(ada(drn="DSR")), keys, RULES) is Reason.TOKEN_WRONG_KIND


def test_t12_a_refresh_cookie_of_another_name_makes_refresh_tokens_alike(mint: Mint, keys: KeySet) -> None:
    renamed = replace(RULES, refresh_names=("DSR", "MYREFRESH"))

    assert session(mint(ada(drn="MYREFRESH")), keys, renamed) is Reason.TOKEN_WRONG_KIND
    assert isinstance(refresh(mint(ada_refresh(drn="MYREFRESH")), keys, renamed), RefreshToken)
    assert refresh(mint(ada_refresh(drn="MYREFRESH")), keys, RULES) is Reason.TOKEN_WRONG_KIND


@pytest.mark.parametrize("drn", [["DSR"], None, 1, {"DSR": 1}, True], ids=str)
def test_t12_a_session_whose_kind_is_no_text_is_refused(mint: Mint, keys: KeySet, drn: object) -> None:
    assert session(mint(ada(drn=drn)), keys, RULES) is Reason.TOKEN_WRONG_KIND


@pytest.mark.parametrize("drn", [ABSENT, "DS", "MYAPP", ""], ids=["absent", "DS", "custom name", "empty"])
def test_a_session_may_have_any_cookie_name_but_that_of_refresh_tokens(mint: Mint, keys: KeySet, drn: object) -> None:
    assert isinstance(session(mint(ada(drn=drn)), keys, RULES), Identity)


@pytest.mark.parametrize(
    "drn",
    [ABSENT, "DS", "dsr", "DSR ", "", None, ["DSR"], True],
    ids=["absent", "DS", "small", "blank", "empty", "null", "list", "true"],
)
def test_t12_a_session_is_no_refresh_token(mint: Mint, keys: KeySet, drn: object) -> None:
    assert refresh(mint(ada_refresh(drn=drn)), keys, RULES) is Reason.TOKEN_WRONG_KIND


AUDIENCES: dict[str, tuple[tuple[str, ...], Any, bool]] = {
    "none asked, absent": ((), ABSENT, True),
    "none asked, empty text": ((), "", True),
    "none asked, empty list": ((), [], True),
    "none asked, the project": ((), PROJECT, True),
    "none asked, the project in a list": ((), ["other", PROJECT], True),
    "none asked, another": ((), "other", False),
    "none asked, another in a list": ((), ["other"], False),
    "none asked, an empty text in a list": ((), [""], False),
    "none asked, another project": ((), OTHER_PROJECT, False),
    "none asked, null": ((), None, False),
    "none asked, a number": ((), 7, False),
    "none asked, an object": ((), {PROJECT: 1}, False),
    "none asked, the project beside a number": ((), [PROJECT, 7], False),
    "asked, the same": (("api",), "api", True),
    "asked, the same in a list": (("api",), ["web", "api"], True),
    "asked, one of several": (("api", "web"), "web", True),
    "asked, absent": (("api",), ABSENT, False),
    "asked, empty text": (("api",), "", False),
    "asked, empty list": (("api",), [], False),
    "asked, the project": (("api",), PROJECT, False),
    "asked, longer": (("api",), "api2", False),
    "asked, shorter": (("api",), "ap", False),
    "asked, other letters": (("api",), "API", False),
    "asked, in a nested list": (("api",), [["api"]], False),
    "asked, as an object": (("api",), {"api": "api"}, False),
    "asked, beside null": (("api",), ["api", None], False),
}


@pytest.mark.parametrize(("asked", "audience", "is_ours"), AUDIENCES.values(), ids=AUDIENCES.keys())
def test_t12_the_audience_must_be_ours(
    mint: Mint, keys: KeySet, asked: tuple[str, ...], audience: object, is_ours: bool
) -> None:
    found = session(mint(ada(aud=audience)), keys, TokenRules(PROJECT, asked))

    assert isinstance(found, Identity) if is_ours else found is Reason.TOKEN_WRONG_AUDIENCE


@pytest.mark.parametrize("audience", [ABSENT, "web", ["web"]], ids=["absent", "another", "another in a list"])
def test_a_refresh_token_is_not_judged_by_audience(mint: Mint, keys: KeySet, audience: object) -> None:
    rules = TokenRules(PROJECT, ("api",))

    assert isinstance(refresh(mint(ada_refresh(aud=audience)), keys, rules), RefreshToken)


# --- times ----------------------------------------------------------------------------------------------------------

NO_TIMES: dict[str, Any] = {
    "text": "1800000600",
    "float": 1800000600.0,
    "true": True,
    "negative": -1,
    "list": [1800000600],
    "beyond what JSON readers agree on": 2**53,
    "null": None,
}


@pytest.mark.parametrize("value", [*NO_TIMES.values(), ABSENT, 0, False], ids=[*NO_TIMES, "absent", "zero", "false"])
def test_t12_exp_must_be_a_whole_number_within_reason(mint: Mint, keys: KeySet, value: object) -> None:
    assert session(mint(ada(exp=value)), keys, RULES) is MALFORMED
    assert refresh(mint(ada_refresh(exp=value)), keys, RULES) is MALFORMED


@pytest.mark.parametrize("literal", ["1e400", "1e10", "1800000600.5", "NaN", "Infinity", "9" * 400])
def test_t12_exp_in_another_notation_is_refused(mint: Mint, keys: KeySet, literal: str) -> None:
    raw = as_json(ada(exp=ABSENT))[:-1] + f',"exp":{literal}}}'.encode()

    assert session(mint(raw), keys, RULES) is MALFORMED


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize("value", NO_TIMES.values(), ids=NO_TIMES.keys())
def test_t12_iat_and_nbf_must_be_whole_numbers_within_reason(
    mint: Mint, keys: KeySet, claim: str, value: object
) -> None:
    assert session(mint(ada(**{claim: value})), keys, RULES) is MALFORMED
    assert refresh(mint(ada_refresh(**{claim: value})), keys, RULES) is MALFORMED


def test_a_token_without_iat_and_nbf_counts_from_the_beginning(mint: Mint, keys: KeySet) -> None:
    found = identity_of(session(mint(ada(iat=ABSENT, nbf=ABSENT)), keys, RULES))

    assert (found.issued_at_s, found.not_before_s) == (0, 0)
    assert standing(found, NOW_S, 5) is None


def test_currency_is_not_judged_without_the_clock(mint: Mint, keys: KeySet) -> None:
    assert isinstance(session(mint(ada(exp=1)), keys, RULES), Identity)
    assert isinstance(session(mint(ada(nbf=2**53 - 1)), keys, RULES), Identity)


STANDINGS: dict[str, tuple[dict[str, int], float, int, Reason | None]] = {
    "current": ({}, NOW_S, 5, None),
    "just before the leeway after exp ends": ({"exp": NOW_S}, NOW_S + 4.999, 5, None),
    "when the leeway after exp ends": ({"exp": NOW_S}, NOW_S + 5, 5, Reason.TOKEN_EXPIRED),
    "no leeway, just before exp": ({"exp": NOW_S + 1}, NOW_S + 0.999, 0, None),
    "no leeway, at exp": ({"exp": NOW_S + 1}, NOW_S + 1, 0, Reason.TOKEN_EXPIRED),
    "nbf within the leeway": ({"nbf": NOW_S + 5}, NOW_S, 5, None),
    "nbf beyond the leeway": ({"nbf": NOW_S + 6}, NOW_S, 5, Reason.TOKEN_NOT_YET_VALID),
    "iat within the leeway": ({"iat": NOW_S + 5}, NOW_S, 5, None),
    "iat beyond the leeway": ({"iat": NOW_S + 6}, NOW_S, 5, Reason.TOKEN_NOT_YET_VALID),
    "iat long ago, nbf ahead": ({"iat": 0, "nbf": NOW_S + 60}, NOW_S, 5, Reason.TOKEN_NOT_YET_VALID),
    "nbf long ago, iat ahead": ({"iat": NOW_S + 60, "nbf": 0}, NOW_S, 5, Reason.TOKEN_NOT_YET_VALID),
    "expired before it began": ({"exp": 10, "nbf": NOW_S + 60}, NOW_S, 5, Reason.TOKEN_EXPIRED),
}


@pytest.mark.parametrize(("times", "now_s", "leeway_s", "expected"), STANDINGS.values(), ids=STANDINGS.keys())
def test_t12_a_token_counts_from_its_beginning_to_its_end(
    mint: Mint, keys: KeySet, times: dict[str, int], now_s: float, leeway_s: int, expected: Reason | None
) -> None:
    renewable = refresh(mint(ada_refresh(**{"exp": NOW_S + 600, **times})), keys, RULES)

    assert standing(identity_of(session(mint(ada(**times)), keys, RULES)), now_s, leeway_s) is expected
    assert isinstance(renewable, RefreshToken)
    assert standing(renewable, now_s, leeway_s) is expected


# --- who and what ---------------------------------------------------------------------------------------------------

SUBJECTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "sub": ({"sub": "U2bob"}, "U2bob"),
    "dsub before sub": ({"sub": "bob@example.com", "dsub": "U2bob"}, "U2bob"),
    "dsub alone": ({"sub": ABSENT, "dsub": "U2bob"}, "U2bob"),
    "empty dsub": ({"sub": "U2bob", "dsub": ""}, "U2bob"),
    "null dsub": ({"sub": "U2bob", "dsub": None}, "U2bob"),
    "letters of any script": ({"sub": "U2b\u00f6b \u6f22"}, "U2b\u00f6b \u6f22"),
    "512 characters": ({"sub": "U" * 512}, "U" * 512),
    "dsub of another type": ({"sub": "U2bob", "dsub": ["U2ada"]}, None),
    "dsub false": ({"sub": "U2bob", "dsub": False}, None),
    "no sub": ({"sub": ABSENT}, None),
    "empty sub": ({"sub": ""}, None),
    "null sub": ({"sub": None}, None),
    "sub as number": ({"sub": 2}, None),
    "sub as list": ({"sub": ["U2bob"]}, None),
    "513 characters": ({"sub": "U" * 513}, None),
    "zero byte": ({"sub": "U2bob\0"}, None),
    "line break": ({"sub": "U2bob\nX-Auth-Roles: admin"}, None),
    "escape sequence": ({"sub": "U2bob\x1b[2J"}, None),
    "delete": ({"sub": "U2bob\x7f"}, None),
    "control of the second table": ({"sub": "U2bob\x85"}, None),
}


@pytest.mark.parametrize(("changes", "subject"), SUBJECTS.values(), ids=SUBJECTS.keys())
def test_the_subject_is_dsub_or_sub_and_a_clean_text(
    mint: Mint, keys: KeySet, changes: dict[str, Any], subject: str | None
) -> None:
    found = session(mint(ada(**changes)), keys, RULES)
    renewable = refresh(mint(ada_refresh(**changes)), keys, RULES)

    if subject is None:
        assert (found, renewable) == (MALFORMED, MALFORMED)
    else:
        assert identity_of(found).subject == subject
        assert isinstance(renewable, RefreshToken)
        assert renewable.subject == subject


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        pytest.param({"sub": "U2ada"}, Kind.SESSION, id="a person"),
        pytest.param({"sub": "K2worker"}, Kind.ACCESS_KEY, id="an access key"),
        pytest.param({"sub": "U2ada", "dsub": "K2worker"}, Kind.ACCESS_KEY, id="an access key by dsub"),
        pytest.param({"sub": "K2worker", "dsub": "U2ada"}, Kind.SESSION, id="a person by dsub"),
        pytest.param({"sub": "k2worker"}, Kind.SESSION, id="a small letter"),
    ],
)
def test_a_subject_with_k_in_front_is_an_access_key(
    mint: Mint, keys: KeySet, changes: dict[str, Any], kind: Kind
) -> None:
    assert identity_of(session(mint(ada(**changes)), keys, RULES)).kind is kind


NAMES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a list": (["b", "a"], ("b", "a")),
    "an empty list": ([], ()),
    "absent": (ABSENT, ()),
    "null": (None, ()),
    "a bare text": ("superadmin", ()),
    "a number in the list": (["admin", 1], ()),
    "null in the list": (["admin", None], ()),
    "a list in the list": (["admin", ["x"]], ()),
    "an object": ({"admin": True}, ()),
    "true": (True, ()),
}


@pytest.mark.parametrize(("value", "names"), NAMES.values(), ids=NAMES.keys())
def test_only_lists_of_texts_grant_anything(mint: Mint, keys: KeySet, value: object, names: tuple[str, ...]) -> None:
    held = {name: value for name in ("roles", "permissions") if value is not ABSENT}

    found = identity_of(session(mint(ada(roles=value, permissions=value, tenants={"acme": held})), keys, RULES))

    assert found.project == Grants(names, names)
    assert found.tenants == {"acme": Grants(names, names)}


def test_roles_and_permissions_are_kept_apart(mint: Mint, keys: KeySet) -> None:
    found = identity_of(session(mint(ada(roles=["admin"], permissions=["docs.read"])), keys, RULES))

    assert found.project == Grants(roles=("admin",), permissions=("docs.read",))


@pytest.mark.parametrize(
    ("value", "tenants"),
    [
        pytest.param(ABSENT, None, id="absent"),
        pytest.param({}, {}, id="none listed"),
        pytest.param({"acme": {}}, {"acme": Grants()}, id="a member without roles"),
        pytest.param({"acme": {"roles": ["x"]}}, {"acme": Grants(("x",))}, id="a role"),
        pytest.param({"acme": None, "globex": {}}, {"globex": Grants()}, id="null lists no tenant"),
        pytest.param({"acme": ["x"], "globex": "x", "initech": True}, {}, id="other shapes list no tenant"),
        pytest.param(["acme"], {}, id="a list"),
        pytest.param("acme", {}, id="a text"),
        pytest.param(None, {}, id="null is not absent"),
    ],
)
def test_tenants_are_those_listed_as_objects(
    mint: Mint, keys: KeySet, value: object, tenants: dict[str, Grants] | None
) -> None:
    found = identity_of(session(mint(ada(tenants=value)), keys, RULES)).tenants

    assert found == tenants
    if found is not None and tenants is not None:
        asked = list(value) if isinstance(value, dict) else ["acme"]
        assert [found.get(tenant) for tenant in asked] == [tenants.get(tenant) for tenant in asked]
        assert len(found) == len(tenants)


@pytest.mark.parametrize(
    ("value", "tenant"),
    [("acme", "acme"), (ABSENT, None), ("", None), (None, None), (7, None), (["acme"], None)],
    ids=["a text", "absent", "empty", "null", "a number", "a list"],
)
def test_the_selected_tenant_is_a_text(mint: Mint, keys: KeySet, value: object, tenant: str | None) -> None:
    assert identity_of(session(mint(ada(dct=value)), keys, RULES)).selected_tenant == tenant


def test_what_a_client_claimed_for_itself_authorises_nothing(mint: Mint, keys: KeySet) -> None:
    own = {"roles": ["admin"], "permissions": ["all"], "tenants": {"acme": {}}, "dct": "acme", "sub": "U2bob"}
    bare = ada(roles=ABSENT, permissions=ABSENT, tenants=ABSENT)

    found = identity_of(session(mint({**bare, "nsec": own}), keys, RULES))

    assert (found.project, found.tenants, found.selected_tenant) == (Grants(), None, None)
    assert found.subject == ADA["sub"]
    assert found.claims == bare


def test_root_claims_are_kept_as_they_are(mint: Mint, keys: KeySet) -> None:
    custom = {
        "email": "ada@b@example.com",
        "plan": {"name": "pro", "seats": 5},
        "ratio": 0.5,
        "name": "\u00c4da \U0001f600",
    }

    found = identity_of(session(mint(ada(**custom)), keys, RULES))

    assert found.claims == ada(**custom)


def test_t13_tokens_of_one_caller_have_different_digests(mint: Mint, keys: KeySet) -> None:
    first = identity_of(session(mint(ADA), keys, RULES))
    second = identity_of(session(mint(ada(iat=NOW_S + 1)), keys, RULES))

    assert first.digest != second.digest


def test_t13_a_token_is_judged_by_the_rules_it_is_asked_with(mint: Mint, keys: KeySet) -> None:
    token = mint(ada(aud="api"))

    assert isinstance(session(token, keys, TokenRules(PROJECT, ("api",))), Identity)
    assert session(token, keys, TokenRules(PROJECT, ("web",))) is Reason.TOKEN_WRONG_AUDIENCE
    assert session(token, keys, TokenRules(OTHER_PROJECT, ("api",))) is Reason.TOKEN_WRONG_ISSUER


def test_t13_a_withdrawn_key_verifies_nothing(mint: Mint, ec_key: ec.EllipticCurvePrivateKey) -> None:
    later = read_keys({"keys": [jwk(ec_key, "ec")]}, 2)

    assert later is not None
    assert session(mint(ADA), later, RULES) is UNKNOWN_KEY


def test_t13_a_key_replaced_under_its_name_verifies_nothing_old(mint: Mint) -> None:
    fresh = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    later = read_keys({"keys": [jwk(fresh, "rsa")]}, 2)

    assert later is not None
    assert session(mint(ADA), later, RULES) is BAD_SIGNATURE
    assert isinstance(session(mint(ADA, key=fresh), later, RULES), Identity)


# --- unverified texts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e30.e30.AA", True),
        ("a.b.c", True),
        ("-_.-_.-_", True),
        ("", False),
        ("..", False),
        ("a.b.", False),
        (".b.c", False),
        ("a..c", False),
        ("a.b", False),
        ("a.b.c.d", False),
        ("a.b.c\n", False),
        (" a.b.c", False),
        ("a.b.c=", False),
        ("a+.b.c", False),
        ("a/.b.c", False),
        ("a.b.\u00e9", False),
        ("a.b.\u0663", False),
        ("K2worker00000000000000000000demoworkerkey", False),
    ],
    ids=repr,
)
def test_three_segments_of_base64url_are_a_jwt(text: str, expected: bool) -> None:
    assert is_jwt(text) is expected


def unsigned(payload: bytes) -> str:
    return f"e30.{b64(payload)}.AA"


OUR_TRACES: dict[str, Callable[[bytes], str]] = {
    "as written": unsigned,
    "padded": lambda raw: f"e30.{b64(raw)}==.AA",
    "the other alphabet": lambda raw: f"e30.{b64(raw).replace('-', '+').replace('_', '/')}.AA",
    "a blank within": lambda raw: f"e30.{b64(raw)[:9]} {b64(raw)[9:]}.AA",
    "no signature": lambda raw: f"e30.{b64(raw)}.",
    "a header that is no JSON": lambda raw: f"xx.{b64(raw)}.AA",
    "more segments": lambda raw: f"e30.{b64(raw)}.AA.AA",
    "a byte-order mark": lambda raw: unsigned(b"\xef\xbb\xbf" + raw),
    "a second iss in front": lambda raw: unsigned(b'{"iss":"x",' + raw[1:]),
    "a second iss behind": lambda raw: unsigned(raw[:-1] + b',"iss":"x"}'),
    "something behind": lambda raw: unsigned(raw + b" x"),
    "a giant number": lambda raw: unsigned(raw[:-1] + b',"n":' + b"9" * 5000 + b"}"),
    "a bare control character": lambda raw: unsigned(raw[:-1] + b',"n":"\0"}'),
    "invalid UTF-8": lambda raw: unsigned(raw[:-1] + b',"n":"\xff"}'),
    "more than a token may have": lambda raw: f"e30.{b64(raw)}.{'A' * MAX_TOKEN_CHARS}",
}


@pytest.mark.parametrize("trace", OUR_TRACES.values(), ids=OUR_TRACES.keys())
def test_t12_a_token_that_says_it_is_ours_is_seen_however_it_is_spelt(trace: Callable[[bytes], str]) -> None:
    assert claims_our_issuer(trace(as_json({"iss": PROJECT, "sub": "U2ada"})), PROJECT)
    assert not claims_our_issuer(trace(as_json({"iss": "https://accounts.example", "sub": "U2ada"})), PROJECT)


@pytest.mark.parametrize(
    "issuer",
    [*ISSUERS_OF_OURS.values(), PROJECT.lower(), f" {PROJECT}\n", [PROJECT], {"id": PROJECT}],
    ids=[*ISSUERS_OF_OURS, "small letters", "white space", "a list", "an object"],
)
def test_every_spelling_of_our_issuer_is_seen(issuer: object) -> None:
    assert claims_our_issuer(unsigned(as_json({"iss": issuer})), PROJECT)


@pytest.mark.parametrize(
    "payload",
    [
        {"iss": OTHER_PROJECT},
        {"iss": f"https://api.descope.com/{OTHER_PROJECT}"},
        {"iss": "https://accounts.example", "aud": PROJECT},
        {"sub": "U2ada"},
        {"x": {"iss": PROJECT}},
        {"iss": None},
        {"iss": 7},
        {},
        [],
        [PROJECT],
        PROJECT,
        7,
        None,
    ],
    ids=json.dumps,
)
def test_a_token_of_somebody_else_is_not_taken_for_ours(payload: object) -> None:
    assert not claims_our_issuer(unsigned(json.dumps(payload).encode()), PROJECT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "a.b.c",
        "e30",
        "e30.!.AA",
        unsigned(b"{"),
        unsigned(b"[" * 9000),
        "a.\u00e9.c",
        "." * 10**6,
    ],
    ids=[
        "empty",
        "dots",
        "no JSON",
        "one segment",
        "no base64",
        "half",
        "nested without end",
        "no ASCII",
        "a million dots",
    ],
)
def test_what_nobody_can_read_does_not_say_it_is_ours(text: str) -> None:
    assert not claims_our_issuer(text, PROJECT)


def test_t18_what_no_request_head_can_hold_is_not_looked_at() -> None:
    assert not claims_our_issuer(unsigned(as_json({"iss": PROJECT})) + "A" * 65_536, PROJECT)


def test_every_good_token_says_that_it_is_ours(mint: Mint) -> None:
    assert is_jwt(mint(ADA))
    assert claims_our_issuer(mint(ADA), PROJECT)
    assert claims_our_issuer(mint(ada_refresh()), PROJECT)


# --- generated ------------------------------------------------------------------------------------------------------

ANY_CHARACTER = st.sampled_from(string.ascii_letters + string.digits + "-_.=+/ \n\0") | st.characters()
SHAPED = st.lists(st.text(alphabet=string.ascii_letters + string.digits + "-_", max_size=40), max_size=4).map(".".join)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([PROJECT, "DSR", NOW_S]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
CLAIMS = st.dictionaries(
    st.sampled_from(
        ["iss", "sub", "dsub", "exp", "iat", "nbf", "aud", "drn", "roles", "permissions", "tenants", "dct", "nsec"]
    ),
    JSON_VALUES,
)


@settings(deadline=None, max_examples=300)
@given(position=st.integers(0, 10**6), character=ANY_CHARACTER, is_rsa=st.booleans())
def test_t12_no_token_survives_the_change_of_one_character(
    mint: Mint,
    keys: KeySet,
    ec_key: ec.EllipticCurvePrivateKey,
    position: int,
    character: str,
    is_rsa: bool,
) -> None:
    good = mint(ADA) if is_rsa else mint(ADA, key=ec_key, headers={"kid": "ec"})
    position %= len(good)
    if good[position] == character:
        return

    assert isinstance(session(good[:position] + character + good[position + 1 :], keys, RULES), Reason)


@settings(deadline=None)
@given(text=st.text(max_size=200) | SHAPED)
@example(text="e30.e30.e30")
@example(text="\ud800.\ud800.\ud800")
def test_no_text_whatever_makes_verification_fail(keys: KeySet, text: str) -> None:
    assert isinstance(session(text, keys, RULES), Reason)
    assert isinstance(refresh(text, keys, RULES), Reason)
    assert claims_our_issuer(text, PROJECT) is False
    assert is_jwt(text) in (True, False)


@settings(deadline=None)
@given(header=JSON_VALUES | st.dictionaries(st.sampled_from(["alg", "kid", "crit", "x"]), JSON_VALUES))
def test_no_header_whatever_makes_verification_fail(mint: Mint, keys: KeySet, header: object) -> None:
    token = mint(ADA, headers=json.dumps(header).encode())

    assert isinstance(session(token, keys, RULES), Reason)


@settings(deadline=None)
@given(claims=CLAIMS)
def test_no_signed_claims_whatever_make_verification_fail(mint: Mint, keys: KeySet, claims: dict[str, Any]) -> None:
    token = mint(json.dumps({**ADA, **claims}).encode())

    assert isinstance(session(token, keys, RULES), Identity | Reason)
    assert isinstance(refresh(token, keys, RULES), RefreshToken | Reason)
    assert claims_our_issuer(token, PROJECT) in (True, False)


def test_t12_a_token_of_ours_is_seen_whichever_signs_its_payload_needs() -> None:
    text = unsigned(as_json({"name": "~~~???>>>", "iss": PROJECT}))
    assert {"-", "_"} & set(text)

    assert claims_our_issuer(text, PROJECT)
    assert claims_our_issuer(text.replace("-", "+").replace("_", "/"), PROJECT)
