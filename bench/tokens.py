"""Keys and tokens: made once, kept under `.bench/tokens` for days, because signing tens of thousands takes its time."""

import base64
import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

PROJECT = "P2bench000000000000000000000"
ISSUER = f"https://api.descope.com/{PROJECT}"
KNOWN = 2_000
_DAY_S = 86_400
_LIFE_S = 7 * _DAY_S
_REUSED_S = 5 * _DAY_S
_BATCH = 500
_KINDS = ("known", "fresh", "expired", "forged", "unknown_kid")
ACCESS_KEY_SUBJECT = "K2bench000000000000000000000"
ACCESS_KEY = ACCESS_KEY_SUBJECT + "benchonlykeynotasecret"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Where the files are, and the tokens.

    known: 2,000 good ones; fresh: good ones, each to be shown once to each peer; expired, forged (good ones with
    another signature) and unknown_kid (signed by a key that nobody published): as many as known. access_key_session:
    what the access key is exchanged for.
    """

    jwks: Path
    pem: Path
    known: tuple[str, ...]
    fresh: tuple[str, ...]
    expired: tuple[str, ...]
    forged: tuple[str, ...]
    unknown_kid: tuple[str, ...]
    access_key_session: str


def claims(number: int, now_s: int, expires_s: int) -> Mapping[str, object]:
    """What Descope writes for a person with two roles, a tenant and an e-mail claim; `sub` tells people apart."""
    return {
        "amr": ["pwd"],
        "drn": "DS",
        "email": f"person{number}@example.com",
        "exp": expires_s,
        "iat": min(now_s, expires_s) - 60,
        "iss": ISSUER,
        "permissions": ["User Admin", "SSO Admin"],
        "rexp": "2099-01-01T00:00:00Z",
        "roles": ["Tenant Admin", "editor"],
        "sub": subject(number),
        "tenants": {"t1": {"permissions": ["p1", "p2"], "roles": ["admin"]}},
    }


def subject(number: int) -> str:
    return f"U2{number:026d}"


def signed(claims: Mapping[str, object], kid: str, key: rsa.RSAPrivateKey) -> str:
    """A compact RS256 token."""
    head = _segment({"alg": "RS256", "kid": kid, "typ": "JWT"})
    text = f"{head}.{_segment(claims)}"
    return f"{text}.{_base64(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def forged(token: str, source: random.Random) -> str:
    """The same words under a signature of the right length that nobody made."""
    text, _, signature = token.rpartition(".")
    length = len(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
    # A first byte of zero keeps the number below every modulus, so that the whole check is made and then fails.
    return f"{text}.{_base64(bytes(1) + source.randbytes(length - 1))}"


def make_tokens(folder: Path, fresh: int) -> Tokens:
    """Tokens from `folder`, made anew where there are too few or they are too old."""
    if not is_usable(folder, fresh):
        _make(folder, fresh)
    lists = {kind: tuple((folder / kind).read_text("ascii").split()) for kind in _KINDS}
    session = (folder / "access_key_session").read_text("ascii")
    return Tokens(
        jwks=folder / "jwks.json",
        pem=folder / "public.pem",
        known=lists["known"],
        fresh=lists["fresh"][:fresh],
        expired=lists["expired"],
        forged=lists["forged"],
        unknown_kid=lists["unknown_kid"],
        access_key_session=session,
    )


def is_usable(folder: Path, fresh: int) -> bool:
    try:
        made = json.loads((folder / "made.json").read_text("ascii"))
    except (OSError, ValueError):
        return False
    return bool(made["fresh"] >= fresh and 0 <= time.time() - made["at_s"] < _REUSED_S)


def _make(folder: Path, fresh: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "made.json").unlink(missing_ok=True)
    key, other = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    (folder / "public.pem").write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (folder / "jwks.json").write_text(json.dumps({"keys": [_jwk(key.public_key())]}), "ascii")
    now_s = int(time.time())
    known = list(_sign_many(key, "k1", range(KNOWN), now_s, now_s + _LIFE_S))
    source = random.Random(2_000)
    lists = {
        "known": known,
        "fresh": list(_sign_many(key, "k1", range(KNOWN, KNOWN + fresh), now_s, now_s + _LIFE_S)),
        "expired": list(_sign_many(key, "k1", range(KNOWN), now_s, now_s - 3_600)),
        "forged": [forged(token, source) for token in known],
        "unknown_kid": list(_sign_many(other, "k9", range(KNOWN), now_s, now_s + _LIFE_S)),
    }
    for kind, tokens in lists.items():
        (folder / kind).write_text("\n".join(tokens), "ascii")
    of_key = {**claims(0, now_s, now_s + _LIFE_S), "sub": ACCESS_KEY_SUBJECT}
    (folder / "access_key_session").write_text(signed(of_key, "k1", key), "ascii")
    (folder / "made.json").write_text(json.dumps({"at_s": now_s, "fresh": fresh}), "ascii")


def _sign_many(key: rsa.RSAPrivateKey, kid: str, numbers: range, now_s: int, expires_s: int) -> Iterator[str]:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    batches = [numbers[start : start + _BATCH] for start in range(0, len(numbers), _BATCH)]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for tokens in pool.map(_sign_batch, ((pem, kid, batch, now_s, expires_s) for batch in batches)):
            yield from tokens


def _sign_batch(job: tuple[bytes, str, range, int, int]) -> list[str]:
    pem, kid, numbers, now_s, expires_s = job
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return [signed(claims(number, now_s, expires_s), kid, key) for number in numbers]


def _jwk(key: rsa.RSAPublicKey) -> Mapping[str, str]:
    numbers = key.public_numbers()
    n, e = (_base64(value.to_bytes((value.bit_length() + 7) // 8, "big")) for value in (numbers.n, numbers.e))
    return {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "k1", "n": n, "e": e}


def _segment(content: Mapping[str, object]) -> str:
    return _base64(json.dumps(content, separators=(",", ":")).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
