"""Keys made once for all tests of the core, and tokens signed with them, however odd."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

from gateway.core.keyset import KeySet, read_keys

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

PROJECT = "P2core0000000000000000000000"
NOW_S = 1_800_000_000
ADA: Mapping[str, Any] = {
    "amr": ["pwd"],
    "drn": "DS",
    "exp": NOW_S + 600,
    "iat": NOW_S,
    "iss": PROJECT,
    "permissions": ["docs.read"],
    "roles": ["editor", "admin"],
    "sub": "U2ada00000000000000000000000",
    "tenants": {"acme": {"permissions": ["docs.write"], "roles": ["owner"]}, "globex": {}},
}
ABSENT = object()


def ada(**changes: Any) -> dict[str, Any]:
    """Ada's session claims with some of them changed; ABSENT takes one away."""
    return {name: value for name, value in {**ADA, **changes}.items() if value is not ABSENT}


def ada_refresh(**changes: Any) -> dict[str, Any]:
    """The claims of Ada's refresh token, with changes."""
    bare = {"permissions": ABSENT, "roles": ABSENT, "tenants": ABSENT}
    return ada(**{**bare, "drn": "DSR", "exp": NOW_S + 86_400, **changes})


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def as_json(value: Mapping[str, Any] | bytes) -> bytes:
    """Bytes stay what they are, for what no JSON library would write."""
    return value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()


def signature(message: str, key: PrivateKey | bytes, algorithm: str) -> bytes:
    """What the named algorithm makes of `message`; with bytes for a key it is HMAC."""
    if isinstance(key, bytes):
        return hmac.digest(key, message.encode(), hashlib.sha256)
    return get_default_algorithms()[algorithm].sign(message.encode(), key)


def natural_algorithm(key: PrivateKey) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    return {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}[key.curve.name]


def jwk(key: PrivateKey, kid: str, /, **changes: Any) -> dict[str, Any]:
    """The public half as Descope publishes it, with changes; ABSENT takes a member away."""
    public: dict[str, Any]
    if isinstance(key, rsa.RSAPrivateKey):
        public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        public = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    public.pop("key_ops", None)
    whole = {**public, "alg": natural_algorithm(key), "kid": kid, "use": "sig", **changes}
    return {name: value for name, value in whole.items() if value is not ABSENT}


class Mint:
    """Makes tokens: `mint(claims)` is a good one, signed with the RSA key as "rsa"."""

    def __init__(self, rsa_key: rsa.RSAPrivateKey) -> None:
        self._default = rsa_key

    def __call__(
        self,
        claims: Mapping[str, Any] | bytes,
        key: PrivateKey | bytes | None = None,
        headers: Mapping[str, Any] | bytes | None = None,
        signed_as: str = "",
    ) -> str:
        """A token over exactly these claims.

        headers: change `alg`, `kid` ("rsa") and `typ`, or replace the whole header where they are bytes.
        signed_as: the algorithm that really signs, whatever the header says.
        """
        key = self._default if key is None else key
        natural = "HS256" if isinstance(key, bytes) else natural_algorithm(key)
        if not isinstance(headers, bytes):
            whole = {"alg": natural, "kid": "rsa", "typ": "JWT", **(headers or {})}
            headers = as_json({name: value for name, value in whole.items() if value is not ABSENT})
        return self.seal(b64(headers), b64(as_json(claims)), key, signed_as or natural)

    def seal(
        self, header_text: str, payload_text: str, key: PrivateKey | bytes | None = None, algorithm: str = "RS256"
    ) -> str:
        """Sign two segments as they stand."""
        message = f"{header_text}.{payload_text}"
        return f"{message}.{b64(signature(message, self._default if key is None else key, algorithm))}"


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="session")
def mint(rsa_key: rsa.RSAPrivateKey) -> Mint:
    return Mint(rsa_key)


@pytest.fixture(scope="session")
def keys(rsa_key: rsa.RSAPrivateKey, ec_key: ec.EllipticCurvePrivateKey) -> KeySet:
    """Both public keys, named "rsa" and "ec"."""
    found = read_keys({"keys": [jwk(rsa_key, "rsa"), jwk(ec_key, "ec")]}, 1)
    assert found is not None
    return found
