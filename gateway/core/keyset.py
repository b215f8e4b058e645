"""The keys that may vouch for a token, read from what Descope publishes.

A key is taken only when everything about it is plain: an asymmetric algorithm that it names itself and that fits its
type and curve, a name of its own, a sound size, meant for signatures. One that is not is left out with its reason; it
never spoils the others. `cryptography` is used directly: the usual JWK loaders take padded and sloppy base64, short RSA
keys and keys meant for encryption.
"""

from binascii import a2b_base64
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256 as sha256_of
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

MAX_KID_CHARS = 256
MIN_RSA_BITS = 2048
# Beyond this one forged token costs milliseconds.
MAX_RSA_BITS = 8192


class Check(Protocol):
    def __call__(self, signature: bytes, message: bytes, sha256: bytes = b"") -> bool:
        """Whether a signature over a message is this key's. sha256: of the message, where that is at hand."""


_RSA_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "RS256": hashes.SHA256(),
    "RS384": hashes.SHA384(),
    "RS512": hashes.SHA512(),
    "PS256": hashes.SHA256(),
    "PS384": hashes.SHA384(),
    "PS512": hashes.SHA512(),
}
# What RFC 8017 section 9.2, note 1, puts before a SHA-256.
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
_CURVES: Mapping[str, tuple[str, ec.EllipticCurve, hashes.HashAlgorithm]] = {
    "ES256": ("P-256", ec.SECP256R1(), hashes.SHA256()),
    "ES384": ("P-384", ec.SECP384R1(), hashes.SHA384()),
    "ES512": ("P-521", ec.SECP521R1(), hashes.SHA512()),
}
ALGORITHMS = frozenset(_RSA_HASHES) | frozenset(_CURVES) | {"EdDSA"}
# Who publishes one of these has given the key away.
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

_STANDARD = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_URL_SAFE = _STANDARD[:-2] + "-_"
_BY_CODE = dict(zip(_URL_SAFE.encode(), _STANDARD.encode(), strict=True))
# All else becomes a character that base64 does not know, "+", "/" and "=" among it.
_TO_STANDARD = bytes(_BY_CODE.get(code, ord("!")) for code in range(256))
# By how many characters stand behind the last whole four: what to add, and which may be the last of all. One alone
# says nothing; two or three say four or two bits more than whole bytes have, which must be zero.
_PADDING = (b"", b"", b"==", b"=")
_LAST: tuple[frozenset[bytes], ...] = tuple(
    frozenset(letter.encode() for letter in _STANDARD[::step]) if step else frozenset() for step in (1, 0, 16, 4)
)


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """One public key with the only algorithm it is good for. Made by `read_keys`."""

    kid: str
    algorithm: str
    is_genuine: Check = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeySet:
    """What may verify tokens, by key id.

    generation: tells one set from the next. refused: what was left out, as (kid or position, why).
    """

    keys: Mapping[str, VerifyingKey]
    generation: int
    refused: tuple[tuple[str, str], ...] = ()


def read_keys(document: object, generation: int) -> KeySet | None:
    """The usable keys of a JSON Web Key Set (RFC 7517); None where `document` is none or holds none."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return None
    # Counted before anything is judged: a name borne twice is nobody's, even where one bearer is of no use.
    times = Counter(kid for entry in entries if isinstance(kid := _member(entry, "kid"), str))
    keys: dict[str, VerifyingKey] = {}
    refused: list[tuple[str, str]] = []
    for position, entry in enumerate(entries, start=1):
        try:
            key = _key(entry, times)
        except (ValueError, UnsupportedAlgorithm) as fault:
            refused.append((_label(entry, position), str(fault)))
        else:
            keys[key.kid] = key
    return KeySet(keys, generation, tuple(refused)) if keys else None


def unbase64url(text: str) -> bytes:
    """The bytes that `text` is the one spelling of: base64url, unpadded, no stray bits (RFC 7515 section 2).

    Raises ValueError for anything else, the empty text included.
    """
    code = text.encode("ascii").translate(_TO_STANDARD)
    surplus = len(code) % 4
    # The decoder refuses what it does not know, but drops surplus bits.
    if code[-1:] not in _LAST[surplus]:
        raise ValueError("not canonical base64url")
    return a2b_base64(code + _PADDING[surplus], strict_mode=True)


class _Unfit(ValueError):
    """Why a key is not taken."""


def _member(entry: object, name: str) -> object:
    return entry.get(name) if isinstance(entry, dict) else None


def _label(entry: object, position: int) -> str:
    kid = _member(entry, "kid")
    is_name = isinstance(kid, str) and 0 < len(kid) <= MAX_KID_CHARS and kid.isprintable()
    return str(kid) if is_name else f"entry {position}"


def _key(entry: object, times: Mapping[str, int]) -> VerifyingKey:
    """The key in one entry; raises ValueError with the reason why it is not taken."""
    if not isinstance(entry, dict):
        raise _Unfit("the entry is no object")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARS:
        raise _Unfit(f"kid must be a text of 1 to {MAX_KID_CHARS} characters")
    if times[kid] > 1:
        raise _Unfit("its kid appears more than once, so none of the keys with it is used")
    if entry.get("kty") == "oct":
        raise _Unfit("symmetric keys are never used")
    if not _PRIVATE_MEMBERS.isdisjoint(entry):
        raise _Unfit("it contains private key material")
    if "use" in entry and entry["use"] != "sig":
        raise _Unfit("use is not sig")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _Unfit("key_ops does not contain verify")
    algorithm = entry.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise _Unfit("alg is missing or not one that is accepted")
    if algorithm in _RSA_HASHES:
        check = _rsa_check(entry, algorithm)
    elif algorithm in _CURVES:
        check = _ec_check(entry, algorithm)
    else:
        check = _ed25519_check(entry)
    return VerifyingKey(kid, algorithm, check)


def _octets(entry: Mapping[str, Any], name: str) -> bytes:
    text = entry.get(name)
    if not isinstance(text, str):
        raise _Unfit(f"{name} is missing or no text")
    try:
        return unbase64url(text)
    except ValueError:
        raise _Unfit(f"{name} is not canonical unpadded base64url") from None


def _rsa_check(entry: Mapping[str, Any], algorithm: str) -> Check:
    if entry.get("kty") != "RSA":
        raise _Unfit(f"alg {algorithm} needs kty RSA")
    modulus = int.from_bytes(_octets(entry, "n"), "big")
    exponent = int.from_bytes(_octets(entry, "e"), "big")
    if not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS:
        raise _Unfit(f"the RSA key must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
    # The lower bound is FIPS 186-5's, the upper one OpenSSL's for large keys.
    if not 2**16 < exponent < 2**64 or exponent % 2 == 0 or modulus % 2 == 0:
        raise _Unfit("the RSA modulus or exponent is out of range")
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    size = (modulus.bit_length() + 7) // 8
    # Made once, not for each token.
    digest = _RSA_HASHES[algorithm]
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if algorithm.startswith("PS"):
        # RFC 7518 section 3.5: MGF1 over the same hash, a salt as long as the hash.
        scheme = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)

    def is_genuine(signature: bytes, message: bytes, sha256: bytes = b"") -> bool:
        try:
            key.verify(signature, message, scheme, digest)
        except InvalidSignature:
            return False
        return True

    def is_genuine_rs256(signature: bytes, message: bytes, sha256: bytes = b"") -> bool:
        # What was signed is compared whole, as RFC 8017 section 8.2.2 has it: the same answer for a tenth less. The
        # length comes first there, too: without its leading zeros the same number would be a second spelling.
        if len(signature) != size:
            return False
        try:
            return key.recover_data_from_signature(signature, scheme, None) == _SHA256_INFO + (
                sha256 or sha256_of(message).digest()
            )
        except InvalidSignature:
            return False

    return is_genuine_rs256 if algorithm == "RS256" else is_genuine


def _ec_check(entry: Mapping[str, Any], algorithm: str) -> Check:
    curve_name, curve, digest = _CURVES[algorithm]
    if entry.get("kty") != "EC" or entry.get("crv") != curve_name:
        raise _Unfit(f"alg {algorithm} needs kty EC and crv {curve_name}")
    size = (curve.key_size + 7) // 8
    x, y = _octets(entry, "x"), _octets(entry, "y")
    if len(x) != size or len(y) != size:
        raise _Unfit(f"x and y must have {size} bytes each")
    # Raises ValueError for a point that is not on the curve.
    point = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve)
    key = point.public_key()
    scheme = ec.ECDSA(digest)

    def is_genuine(signature: bytes, message: bytes, sha256: bytes = b"") -> bool:
        if len(signature) != 2 * size:
            return False
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        try:
            key.verify(encode_dss_signature(r, s), message, scheme)
        except InvalidSignature:
            return False
        return True

    return is_genuine


def _ed25519_check(entry: Mapping[str, Any]) -> Check:
    if entry.get("kty") != "OKP" or entry.get("crv") != "Ed25519":
        raise _Unfit("alg EdDSA needs kty OKP and crv Ed25519")
    # Raises ValueError unless there are exactly 32 bytes.
    key = Ed25519PublicKey.from_public_bytes(_octets(entry, "x"))

    def is_genuine(signature: bytes, message: bytes, sha256: bytes = b"") -> bool:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return is_genuine
