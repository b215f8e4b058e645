"""Signing keys: the published set, the one in use, and signing whatever a test wants signed.

RSA keys take about a tenth of a second to make, so the first key of each algorithm is made once in a process and
shared by every emulator in it; a rotation always makes a fresh one.
"""

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from gateway.emulator.settings import Algorithm

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, its public form and its name (the RFC 7638 thumbprint)."""

    private: PrivateKey = field(repr=False)
    algorithm: Algorithm
    kid: str
    jwk: Mapping[str, str]


class SigningKeys:
    """The published keys, newest last."""

    def __init__(self, algorithm: Algorithm, premade: Mapping[Algorithm, PrivateKey] | None = None) -> None:
        self._premade = dict(premade or {})
        self._withdrawn: set[str] = set()
        self._published: list[SigningKey] = []
        self.current = self.use(algorithm)

    def use(self, algorithm: Algorithm) -> SigningKey:
        """Sign with the newest published key of this algorithm from now on, publishing one where there is none."""
        known = [key for key in self._published if key.algorithm == algorithm]
        if not known:
            first = signing_key(self._premade[algorithm]) if algorithm in self._premade else _first_key(algorithm)
            known = [fresh_key(algorithm) if first.kid in self._withdrawn else first]
            self._published += known
        self.current = known[-1]
        return self.current

    def rotate(self, *, keep_old: bool = True) -> SigningKey:
        """Sign with a fresh key; without `keep_old` all others are no longer published and their tokens are void."""
        fresh = fresh_key(self.current.algorithm)
        if not keep_old:
            self._withdrawn |= {key.kid for key in self._published}
            self._published = []
        self._published.append(fresh)
        self.current = fresh
        return fresh

    def jwks(self) -> dict[str, Any]:
        """The published set, as `GET /v2/keys/{project}` answers."""
        return {"keys": [dict(key.jwk) for key in self._published]}

    def sign(
        self, claims: Mapping[str, Any], headers: Mapping[str, Any] | None = None, key: PrivateKey | None = None
    ) -> str:
        """A compact token over exactly these claims.

        headers: added to or replacing `alg`, `kid` and `typ`; a value of None leaves that one out. They are written as
        given and change nothing about how the token is signed.
        key: another private key to sign with; `kid` stays the current one's unless `headers` says otherwise.
        """
        signer = self.current if key is None else signing_key(key)
        head = {"alg": signer.algorithm, "kid": self.current.kid, "typ": "JWT", **(headers or {})}
        written = {name: value for name, value in head.items() if value is not None}
        message = f"{_b64(_json(written))}.{_b64(_json(dict(claims)))}"
        return f"{message}.{_b64(_signature(signer, message.encode()))}"

    def claims(self, token: str, now_s: float) -> dict[str, Any] | None:
        """The claims of a token that a published key signed and that has not expired by `now_s`, else None."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = next((key for key in self._published if key.kid == kid), None)
            if key is None:
                return None
            # The clock here may run ahead of or behind the machine's, so times are compared below.
            relaxed = dict.fromkeys(("verify_exp", "verify_iat", "verify_nbf", "verify_aud"), False)
            claims: dict[str, Any] = jwt.decode(token, key.private.public_key(), [key.algorithm], options=relaxed)  # type: ignore[arg-type]
        except jwt.PyJWTError:
            return None
        expires_s = claims.get("exp")
        return claims if isinstance(expires_s, int) and now_s < expires_s else None


def fresh_key(algorithm: Algorithm) -> SigningKey:
    """A key nobody has seen."""
    if algorithm == "RS256":
        return signing_key(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    return signing_key(ec.generate_private_key(ec.SECP256R1()))


def signing_key(private: PrivateKey) -> SigningKey:
    """A private key with its public form and its name."""
    if isinstance(private, rsa.RSAPrivateKey):
        algorithm: Algorithm = "RS256"
        public = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
        members = ["e", "kty", "n"]
    else:
        algorithm = "ES256"
        public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        members = ["crv", "kty", "x", "y"]
    material = {name: public[name] for name in members}
    kid = _b64(hashlib.sha256(_json(material)).digest())
    return SigningKey(private, algorithm, kid, {"alg": algorithm, **material, "kid": kid, "use": "sig"})


def _signature(key: SigningKey, message: bytes) -> bytes:
    if isinstance(key.private, rsa.RSAPrivateKey):
        return RSAAlgorithm(RSAAlgorithm.SHA256).sign(message, key.private)
    return ECAlgorithm(ECAlgorithm.SHA256).sign(message, key.private)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


_first_key = functools.cache(fresh_key)
