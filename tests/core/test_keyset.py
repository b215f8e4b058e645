"""Key sets: which keys may vouch for tokens, and why the others may not."""

import base64
import hashlib
import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.keyset import KeySet, read_keys, unbase64url
from tests.core.conftest import ABSENT, PrivateKey, b64, jwk, signature

Rsa = rsa.RSAPrivateKey
MESSAGE = "header.payload"


@pytest.fixture(scope="session")
def short_key() -> Rsa:
    return rsa.generate_private_key(public_exponent=65537, key_size=2047)


def only(entry: object, good: PrivateKey) -> tuple[KeySet, str]:
    """Read `entry` beside a good key; the set, and why the entry was refused."""
    keys = read_keys({"keys": [jwk(good, "good"), entry]}, 1)
    assert keys is not None
    assert list(keys.keys) == ["good"]
    ((_, why),) = keys.refused
    return keys, why


def uint(number: int) -> str:
    return b64(number.to_bytes((number.bit_length() + 7) // 8, "big"))


# --- what is taken --------------------------------------------------------------------------------------------------


def test_t12_an_rs256_signature_is_not_spelled_without_its_leading_zero(rsa_key: Rsa) -> None:
    keys = read_keys({"keys": [jwk(rsa_key, "k", alg="RS256")]}, 1)
    assert keys is not None
    texts = (f"message {number}" for number in count())
    text, right = next((one, found) for one in texts if (found := signature(one, rsa_key, "RS256"))[0] == 0)

    assert keys.keys["k"].is_genuine(right, text.encode())
    assert not keys.keys["k"].is_genuine(right[1:], text.encode())


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_an_rsa_key_verifies_with_its_own_algorithm_only(rsa_key: Rsa, algorithm: str) -> None:
    keys = read_keys({"keys": [jwk(rsa_key, "k", alg=algorithm)]}, 7)

    assert keys is not None
    assert (keys.generation, keys.refused, keys.keys["k"].algorithm) == (7, (), algorithm)
    accepted = [
        other
        for other in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
        if keys.keys["k"].is_genuine(signature(MESSAGE, rsa_key, other), MESSAGE.encode())
    ]
    assert accepted == [algorithm]


def encoded(key: Rsa, digest_info: bytes, *, padding_bytes: bytes | None = None) -> bytes:
    """A signature over whatever is given, padded as RFC 8017 section 9.2 says or otherwise."""
    numbers, size = key.private_numbers(), key.key_size // 8
    filled = padding_bytes if padding_bytes is not None else b"\xff" * (size - 3 - len(digest_info))
    number = int.from_bytes(b"\x00\x01" + filled + b"\x00" + digest_info, "big")
    return pow(number, numbers.d, numbers.public_numbers.n).to_bytes(size, "big")


SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


@pytest.mark.parametrize("is_at_hand", [True, False], ids=["digest at hand", "no digest"])
def test_t12_an_rs256_signature_has_one_encoding(rsa_key: Rsa, is_at_hand: bool) -> None:
    keys = read_keys({"keys": [jwk(rsa_key, "k", alg="RS256")]}, 1)
    message = MESSAGE.encode()
    digest = hashlib.sha256(message).digest()
    size = rsa_key.key_size // 8
    right = encoded(rsa_key, SHA256_INFO + digest)
    modulus = rsa_key.public_key().public_numbers().n
    wrong = {
        "another digest": encoded(rsa_key, SHA256_INFO + hashlib.sha256(b"x").digest()),
        "no parameters": encoded(rsa_key, bytes.fromhex("302f300b0609608648016503040201" + "0420") + digest),
        "a bare digest": encoded(rsa_key, digest),
        "something behind": encoded(rsa_key, SHA256_INFO + digest + b"x"),
        "something behind a short padding": encoded(
            rsa_key, SHA256_INFO + digest + b"x" * (size - 62), padding_bytes=b"\xff" * 8
        ),
        "a padding that is none": encoded(rsa_key, SHA256_INFO + digest, padding_bytes=b"\x01" * (size - 54)),
        "SHA-512": signature(MESSAGE, rsa_key, "RS512"),
        "cut short": right[:-1],
        "too long": right + b"\x00",
        "a zero before it": b"\x00" + right,
        "the modulus added": (int.from_bytes(right, "big") + modulus).to_bytes(size + 1, "big"),
        "nothing": b"",
        "zeros": bytes(size),
        "ones": b"\xff" * size,
        "one": (1).to_bytes(size, "big"),
    }

    assert keys is not None
    is_genuine = keys.keys["k"].is_genuine
    at_hand = (digest,) if is_at_hand else ()
    assert is_genuine(right, message, *at_hand)
    assert [name for name, sent in wrong.items() if is_genuine(sent, message, *at_hand)] == []
    assert not is_genuine(right, b"x", *((hashlib.sha256(b"x").digest(),) if is_at_hand else ()))


@pytest.mark.parametrize("salt_bytes", [0, 20, 64])
def test_t12_a_salt_of_another_length_than_the_hash_is_refused(rsa_key: Rsa, salt_bytes: int) -> None:
    keys = read_keys({"keys": [jwk(rsa_key, "k", alg="PS256")]}, 1)
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), salt_bytes)

    assert keys is not None
    assert not keys.keys["k"].is_genuine(rsa_key.sign(MESSAGE.encode(), scheme, hashes.SHA256()), MESSAGE.encode())


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        pytest.param("ES256", ec.generate_private_key(ec.SECP256R1()), id="P-256"),
        pytest.param("ES384", ec.generate_private_key(ec.SECP384R1()), id="P-384"),
        pytest.param("ES512", ec.generate_private_key(ec.SECP521R1()), id="P-521"),
        pytest.param("EdDSA", ed25519.Ed25519PrivateKey.generate(), id="Ed25519"),
    ],
)
def test_a_key_on_a_curve_verifies_what_it_signed_and_nothing_else(algorithm: str, key: PrivateKey) -> None:
    keys = read_keys({"keys": [jwk(key, "k")]}, 1)

    assert keys is not None
    is_genuine = keys.keys["k"].is_genuine
    good = signature(MESSAGE, key, algorithm)
    assert keys.keys["k"].algorithm == algorithm
    assert is_genuine(good, MESSAGE.encode())
    assert not is_genuine(good, b"header.other")
    assert not is_genuine(bytes(len(good)), MESSAGE.encode())
    assert not is_genuine(b"\0" + good, MESSAGE.encode())
    assert not is_genuine(good[:-1], MESSAGE.encode())
    assert not is_genuine(good + b"\0" * len(good), MESSAGE.encode())
    assert not is_genuine(b"", MESSAGE.encode())
    half = len(good) // 2
    assert not is_genuine(good[:half] + b"\0" + good[half:], MESSAGE.encode())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"use": ABSENT}, id="no use"),
        pytest.param({"key_ops": ["verify"]}, id="key_ops verify"),
        pytest.param({"key_ops": ["wrapKey", "verify"]}, id="key_ops with others"),
        pytest.param({"x5c": ["AAAA"], "x5u": "https://example.com/"}, id="certificate members are ignored"),
        pytest.param({"kid": "k" * 256}, id="longest kid"),
    ],
)
def test_a_plain_key_is_taken(rsa_key: Rsa, changes: dict[str, Any]) -> None:
    keys = read_keys({"keys": [jwk(rsa_key, "k", **changes)]}, 1)

    assert keys is not None
    assert (len(keys.keys), keys.refused) == (1, ())


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({"use": "enc"}, "use is not", id="use enc"),
        pytest.param({"use": None}, "use is not", id="use null"),
        pytest.param({"use": ["sig"]}, "use is not", id="use as list"),
        pytest.param({"key_ops": ["encrypt"]}, "key_ops", id="key_ops encrypt"),
        pytest.param({"key_ops": []}, "key_ops", id="key_ops empty"),
        pytest.param({"key_ops": "verify"}, "key_ops", id="key_ops as text"),
        pytest.param({"key_ops": None}, "key_ops", id="key_ops null"),
        pytest.param({"kid": ABSENT}, "kid must", id="no kid"),
        pytest.param({"kid": ""}, "kid must", id="empty kid"),
        pytest.param({"kid": 7}, "kid must", id="kid as number"),
        pytest.param({"kid": "k" * 257}, "kid must", id="kid too long"),
        pytest.param({"alg": ABSENT}, "alg is", id="no alg"),
        pytest.param({"alg": "none"}, "alg is", id="alg none"),
        pytest.param({"alg": "HS256"}, "alg is", id="alg HS256"),
        pytest.param({"alg": "RSA-OAEP"}, "alg is", id="alg for encryption"),
        pytest.param({"alg": "ES256K"}, "alg is", id="alg ES256K"),
        pytest.param({"alg": "rs256"}, "alg is", id="alg in small letters"),
        pytest.param({"alg": ["RS256"]}, "alg is", id="alg as list"),
        pytest.param({"alg": "ES256"}, "needs kty EC", id="alg of another type"),
        pytest.param({"alg": "EdDSA"}, "needs kty OKP", id="alg of Edwards curves"),
        pytest.param({"kty": "EC"}, "needs kty RSA", id="kty of another type"),
        pytest.param({"kty": "oct"}, "symmetric", id="kty oct"),
        pytest.param({"kty": ABSENT}, "needs kty RSA", id="no kty"),
        pytest.param({"n": ABSENT}, "n is missing", id="no modulus"),
        pytest.param({"e": 65537}, "e is missing", id="exponent as number"),
        pytest.param({"e": "AQAB="}, "e is not canonical", id="padded exponent"),
        pytest.param({"e": "AQAC="}, "e is not canonical", id="padded even exponent"),
        pytest.param({"e": "AQA\u0412"}, "e is not canonical", id="exponent outside ASCII"),
        pytest.param({"e": "AQ"}, "out of range", id="exponent 1"),
        pytest.param({"e": "Aw"}, "out of range", id="exponent 3"),
        pytest.param({"e": uint(65538)}, "out of range", id="even exponent"),
        pytest.param({"e": uint(2**64 + 1)}, "out of range", id="giant exponent"),
        pytest.param({"n": uint(2**2047)}, "out of range", id="even modulus"),
        pytest.param({"n": uint(2**8192 + 1)}, "2048 to 8192", id="giant modulus"),
        pytest.param({"d": "AQAB"}, "private", id="private exponent published"),
        pytest.param({"p": "AQAB"}, "private", id="prime published"),
    ],
)
def test_t12_an_rsa_key_with_a_flaw_is_left_out_with_its_reason(
    rsa_key: Rsa, ec_key: ec.EllipticCurvePrivateKey, changes: dict[str, Any], why: str
) -> None:
    _, said = only(jwk(rsa_key, "flawed", **changes), ec_key)

    assert why in said


def test_t12_an_rsa_key_below_2048_bits_is_left_out(short_key: Rsa, ec_key: ec.EllipticCurvePrivateKey) -> None:
    _, why = only(jwk(short_key, "short"), ec_key)

    assert "2048" in why


P384 = ec.generate_private_key(ec.SECP384R1())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({"alg": "ES384"}, "crv P-384", id="alg of another curve"),
        pytest.param({"alg": "RS256"}, "needs kty RSA", id="alg of another type"),
        pytest.param({"crv": "P-384"}, "crv P-256", id="another curve named"),
        pytest.param({"crv": ABSENT}, "crv P-256", id="no curve"),
        pytest.param({"crv": "secp256k1"}, "crv P-256", id="the coin curve"),
        pytest.param({"x": b64(bytes(32))}, "", id="point not on the curve"),
        pytest.param({"x": b64(bytes(33))}, "32 bytes", id="coordinate too long"),
        pytest.param({"y": b64(bytes(31))}, "32 bytes", id="coordinate too short"),
        pytest.param({"y": ABSENT}, "y is missing", id="no y"),
        pytest.param({"d": "AQAB"}, "private", id="private scalar published"),
        pytest.param({name: jwk(P384, "")[name] for name in ("crv", "x", "y")}, "crv P-256", id="P-384 said ES256"),
        pytest.param({"kty": "RSA"}, "needs kty EC", id="kty of another type"),
    ],
)
def test_t12_a_curve_key_with_a_flaw_is_left_out_with_its_reason(
    rsa_key: Rsa, ec_key: ec.EllipticCurvePrivateKey, changes: dict[str, Any], why: str
) -> None:
    _, said = only(jwk(ec_key, "flawed", **changes), rsa_key)

    assert why in said


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        pytest.param({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "k"}, "symmetric", id="a shared secret"),
        pytest.param({"kty": "oct", "k": "c2VjcmV0", "alg": "RS256", "kid": "k"}, "symmetric", id="a disguised secret"),
        pytest.param({"kty": "OKP", "crv": "Ed448", "x": b64(bytes(57)), "alg": "EdDSA", "kid": "k"}, "", id="Ed448"),
        pytest.param({"kty": "OKP", "crv": "Ed25519", "x": b64(bytes(31)), "alg": "EdDSA", "kid": "k"}, "", id="short"),
        pytest.param({"kty": "EC", "crv": "Ed25519", "x": b64(bytes(32)), "alg": "EdDSA", "kid": "k"}, "OKP", id="kty"),
        pytest.param({"kty": "OKP", "crv": "X25519", "x": b64(bytes(32)), "alg": "EdDSA", "kid": "k"}, "", id="X25519"),
        pytest.param(None, "no object", id="null"),
        pytest.param("key", "no object", id="a text"),
        pytest.param([], "no object", id="a list"),
        pytest.param({}, "kid must", id="an empty object"),
    ],
)
def test_t12_what_is_no_public_signing_key_is_left_out(rsa_key: Rsa, entry: object, why: str) -> None:
    _, said = only(entry, rsa_key)

    assert why in said


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(lambda rsa_key, ec_key: jwk(ec_key, "twice"), id="another key"),
        pytest.param(lambda rsa_key, ec_key: jwk(rsa_key, "twice"), id="the same key again"),
        pytest.param(lambda rsa_key, ec_key: jwk(ec_key, "twice", use="enc"), id="a key for encryption"),
        pytest.param(lambda rsa_key, ec_key: {"kid": "twice"}, id="a broken entry"),
    ],
)
def test_t12_a_kid_that_appears_twice_is_nobodys(
    rsa_key: Rsa, ec_key: ec.EllipticCurvePrivateKey, second: Callable[[PrivateKey, PrivateKey], dict[str, Any]]
) -> None:
    entries = [jwk(rsa_key, "twice"), jwk(ec_key, "good"), second(rsa_key, ec_key)]

    keys = read_keys({"keys": entries}, 1)

    assert keys is not None
    assert list(keys.keys) == ["good"]
    assert [kid for kid, _ in keys.refused] == ["twice", "twice"]
    assert all("more than once" in why for _, why in keys.refused)


def test_what_is_refused_is_named_by_kid_or_by_position(rsa_key: Rsa) -> None:
    entries = [jwk(rsa_key, "good"), 5, jwk(rsa_key, "sealed", use="enc"), {"kid": "k" * 9999}, {"kid": "a\nb"}]

    keys = read_keys({"keys": entries}, 1)

    assert keys is not None
    assert [label for label, _ in keys.refused] == ["entry 2", "sealed", "entry 4", "entry 5"]


def test_reasons_quote_nothing_of_the_key(rsa_key: Rsa, ec_key: ec.EllipticCurvePrivateKey) -> None:
    secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQ"

    keys, _ = only({**jwk(rsa_key, "leaky"), "d": secret, "k": secret}, ec_key)

    assert secret not in repr(keys)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "keys",
        7,
        {},
        {"keys": None},
        {"keys": {}},
        {"keys": "[]"},
        {"keys": 7},
        {"keys": []},
        {"keys": [None, {}]},
        {"keys": [{"kty": "oct", "k": "AAAA", "alg": "HS256", "kid": "k"}]},
    ],
    ids=json.dumps,
)
def test_a_document_without_a_usable_key_is_no_key_set(document: object) -> None:
    assert read_keys(document, 1) is None


def test_a_bare_list_of_good_keys_is_no_key_set(rsa_key: Rsa) -> None:
    assert read_keys([jwk(rsa_key, "k")], 1) is None


# --- generated ------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["kty", "alg", "kid", "use", "key_ops", "n", "e", "crv", "x", "y", "k", "d"])
WORDS = st.sampled_from(
    ["RSA", "EC", "OKP", "RS256", "ES256", "EdDSA", "P-256", "Ed25519", "sig", "verify", "AQAB", "k"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=12),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.lists(VALUES | st.dictionaries(NAMES, VALUES, max_size=12), max_size=5))
def test_no_json_whatever_makes_reading_keys_fail(entries: list[Any]) -> None:
    found = read_keys({"keys": entries}, 1)

    assert found is None or len(found.keys) + len(found.refused) == len(entries)


@given(st.binary(min_size=1, max_size=64))
def test_what_is_written_as_base64url_reads_back(raw: bytes) -> None:
    assert unbase64url(b64(raw)) == raw


@given(st.text(alphabet="ABQgwxyz019-_+/= \n.!\u00e9", max_size=12))
def test_t12_each_run_of_bytes_has_one_spelling_only(text: str) -> None:
    try:
        raw = unbase64url(text)
    except ValueError:
        return

    assert base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == text


@pytest.mark.parametrize("text", ["", "=", "====", "A", "AA==", "AA\n", "+A", "AB"])
def test_t12_what_is_no_plain_base64url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64|padding"):
        unbase64url(text)
