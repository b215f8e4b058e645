"""Tokens: who one speaks for, if it is genuine and ours. The only maker of `Identity` and `RefreshToken`.

Everything but the clock is settled here, so an answer may be remembered; `standing` asks the clock each time. The order
is part of the promise: spelling, header, key, signature, and only then the claims, of which nothing is even parsed
before the signature is known to be Descope's. The parsing is our own and strict, so that no other reader can see
another token in the same text: one spelling of base64url, one member of each name, JSON and UTF-8 without exceptions.

Unlovely: a signature of ES256, ES384 or ES512 has a second valid spelling that anybody can work out from the first. So
a token's digest is that of its signed part: a session that was signed out stays so under either signature.
"""

import hashlib
import json
import math
import re
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from functools import lru_cache
from typing import Any

from gateway.core.keyset import ALGORITHMS, MAX_KID_CHARS, KeySet, VerifyingKey, read_keys, unbase64url
from gateway.core.model import Grants, Identity, Kind, Reason, RefreshToken, TokenRules, noun

__all__ = [
    "MAX_TOKEN_CHARS",
    "KeySet",
    "Signed",
    "VerifyingKey",
    "claims_our_issuer",
    "identity",
    "is_jwt",
    "read_keys",
    "refresh",
    "session",
    "signed",
    "standing",
]

MAX_TOKEN_CHARS = 16 * 1024
# How much is looked at to find out whether something must be stripped: all that fits into a request's head.
_MAX_STRIPPED_CHARS = 64 * 1024
_MAX_SUBJECT_CHARS = 512
_KEPT_CHARS = 512
# The range in which every JSON reader sees the same whole number (RFC 8259 section 6).
_MAX_SECONDS = 2**53

_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_ISSUER_URL = re.compile(r"https?://[^/?#@\\%\s\x00-\x1f\x7f]+(/[^?#\\%\s\x00-\x1f\x7f]*)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# They change what is signed or how it is read (RFC 7515 section 4.1.11, RFC 7797, RFC 7516); we honour none of them.
_TEXTS = frozenset({str})
# Looked up once: a member of an enumeration costs as much as a call.
_ACCESS_KEY, _SESSION = Kind.ACCESS_KEY, Kind.SESSION
_REFUSED_MEMBERS = frozenset({"crit", "b64", "zip"})


# --- verification ---------------------------------------------------------------------------------------------------


@noun
class Signed:
    """What a key of ours has signed: claims as text, which nobody has judged yet. Made by `signed` alone.

    digest: as of `digest_of`. size: characters of the whole token.
    """

    digest: bytes
    size: int
    payload: bytes = field(repr=False)


def session(token: str, keys: KeySet, rules: TokenRules) -> Identity | Reason:
    """Who a session token speaks for, or why it speaks for nobody. Whether it is current, `standing` says."""
    found = signed(token, keys)
    return found if isinstance(found, Reason) else identity(found, rules)


def identity(found: Signed, rules: TokenRules) -> Identity | Reason:
    """As `session`, for a token whose signature is known to be good."""
    claims = _claims(found)
    if isinstance(claims, Reason):
        return claims
    if not _is_our_issuer(claims.get("iss"), rules.project_id):
        return Reason.TOKEN_WRONG_ISSUER
    # `drn` repeats the cookie's name, which may be another than `DS`; it must not be the refresh cookie's.
    kind = claims.get("drn", "")
    if not isinstance(kind, str) or kind in rules.refresh_names:
        return Reason.TOKEN_WRONG_KIND
    if not _is_for_us(claims, rules):
        return Reason.TOKEN_WRONG_AUDIENCE
    times = _times(claims)
    subject = _subject(claims)
    if times is None or subject is None:
        return Reason.TOKEN_MALFORMED
    issued_at_s, not_before_s, expires_at_s = times
    tenants = claims.get("tenants")
    selected = claims.get("dct")
    # What a client put into its own token at sign-in: no rule may ever see it.
    claims.pop("nsec", None)
    return Identity(
        kind=_ACCESS_KEY if subject.startswith("K") else _SESSION,
        subject=subject,
        issued_at_s=issued_at_s,
        not_before_s=not_before_s,
        expires_at_s=expires_at_s,
        project=_grants(claims),
        tenants=_tenants(tenants) if "tenants" in claims else None,
        selected_tenant=selected if isinstance(selected, str) and selected else None,
        claims=claims,
        digest=found.digest,
    )


def refresh(token: str, keys: KeySet, rules: TokenRules) -> RefreshToken | Reason:
    """Whose session a refresh token renews, or why it renews none. Whether it is current, `standing` says.

    Its audience is not judged: Descope is, and with `aud` on sessions alone nobody could renew. What comes back from
    the renewal is a session token, and judged as one.
    """
    found = signed(token, keys)
    if isinstance(found, Reason):
        return found
    claims = _claims(found)
    if isinstance(claims, Reason):
        return claims
    if not _is_our_issuer(claims.get("iss"), rules.project_id):
        return Reason.TOKEN_WRONG_ISSUER
    if claims.get("drn") not in rules.refresh_names:
        return Reason.TOKEN_WRONG_KIND
    times = _times(claims)
    subject = _subject(claims)
    if times is None or subject is None:
        return Reason.TOKEN_MALFORMED
    issued_at_s, not_before_s, expires_at_s = times
    return RefreshToken(subject, issued_at_s, not_before_s, expires_at_s, found.digest)


def standing(token: Identity | RefreshToken, now_s: float, leeway_s: int) -> Reason | None:
    """Why a genuine token does not count at `now_s` (wall clock); None when it does.

    leeway_s: how far the issuer's clock may be from ours, either way.
    """
    if now_s >= token.expires_at_s + leeway_s:
        return Reason.TOKEN_EXPIRED
    if max(token.not_before_s, token.issued_at_s) > now_s + leeway_s:
        return Reason.TOKEN_NOT_YET_VALID
    return None


# --- unverified texts -----------------------------------------------------------------------------------------------


def is_jwt(text: str) -> bool:
    """Whether `text` has the shape of a signed token: three segments of base64url. Says nothing about its worth."""
    return len(text) <= MAX_TOKEN_CHARS and _JWT.fullmatch(text) is not None


def token_digest(token: str) -> bytes:
    """What a token is remembered by: SHA-256 of all of it."""
    return hashlib.sha256(token.encode("ascii", "replace")).digest()


def claims_our_issuer(token: str, project_id: str) -> bool:
    """Whether an unverified token says that it is of our project, to whatever reader.

    Generous on purpose, for it decides only what must not pass on: padding, the other base64 alphabet, white space,
    an `iss` given twice or oddly spelt still count. What nobody can read says nothing.
    """
    segments = token.split(".", 2)
    if len(segments) != 3 or len(token) > _MAX_STRIPPED_CHARS:
        return False
    code = "".join(segments[1].replace("-", "+").replace("_", "/").split())
    try:
        text = a2b_base64(code.encode("ascii") + b"==").decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
        members, _ = _GENEROUS.raw_decode(text)
        issuers = [json.dumps(value, ensure_ascii=False) for name, value in members if name == "iss"]
    except (TypeError, ValueError, RecursionError):
        return False
    ours = project_id.casefold()
    return any(ours in issuer.casefold() for issuer in issuers)


# --- strict parsing -------------------------------------------------------------------------------------------------


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member appears twice")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


_STRICT = json.JSONDecoder(object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_constant)
# What `raw_decode` calls, and does no more than to say otherwise where nothing was found.
_scanned: Callable[[str, int], tuple[Any, int]] = _STRICT.scan_once  # type: ignore[attr-defined]
# Objects as pairs, for a dict would swallow repetitions; numbers as texts, for some are too long for Python.
_GENEROUS = json.JSONDecoder(object_pairs_hook=list, parse_int=str, parse_float=str, strict=False)


def _json_object(raw: bytes) -> dict[str, Any]:
    """The one JSON object that `raw` is; raises ValueError or RecursionError for anything else."""
    text = raw.decode("utf-8").strip(" \t\r\n")
    try:
        value, end = _scanned(text, 0)
    except StopIteration:
        raise ValueError("not JSON") from None
    if end != len(text) or not isinstance(value, dict):
        raise ValueError("not a JSON object, and nothing else")
    if "\\" in text:
        # An escape can name half of a surrogate pair, which no header or log line can be written with.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def signed(token: str, keys: KeySet) -> Signed | Reason:
    """What a token says that one of `keys` signed, whatever that may be.

    A missing `alg` is TOKEN_MALFORMED; any that we do not accept, `none` included, is TOKEN_BAD_SIGNATURE whatever the
    `kid`: it must not make anybody look for a key.
    """
    if len(token) > MAX_TOKEN_CHARS:
        return Reason.TOKEN_MALFORMED
    try:
        header_text, payload_text, signature_text = token.split(".")
        header = _header(header_text) if len(header_text) <= _KEPT_CHARS else _header.__wrapped__(header_text)
        payload = unbase64url(payload_text)
        signature = unbase64url(signature_text)
    except (ValueError, RecursionError):
        return Reason.TOKEN_MALFORMED
    if isinstance(header, Reason):
        return header
    algorithm, kid = header
    key = keys.keys.get(kid)
    if key is None:
        return Reason.TOKEN_UNKNOWN_KEY
    message = token[: len(header_text) + 1 + len(payload_text)].encode("ascii")
    digest = hashlib.sha256(message).digest()
    if algorithm != key.algorithm or not key.is_genuine(signature, message, digest):
        return Reason.TOKEN_BAD_SIGNATURE
    return Signed(digest, len(token), payload)


def _claims(found: Signed) -> dict[str, Any] | Reason:
    try:
        return _json_object(found.payload)
    except (ValueError, RecursionError):
        return Reason.TOKEN_MALFORMED


@lru_cache(maxsize=256)
def _header(text: str) -> tuple[str, str] | Reason:
    """Algorithm and key id of a token; raises ValueError or RecursionError. All tokens of a key have one header."""
    header = _json_object(unbase64url(text))
    algorithm = header.get("alg")
    kid = header.get("kid")
    if not isinstance(algorithm, str) or not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARS:
        return Reason.TOKEN_MALFORMED
    if not _REFUSED_MEMBERS.isdisjoint(header):
        return Reason.TOKEN_MALFORMED
    return (algorithm, kid) if algorithm in ALGORITHMS else Reason.TOKEN_BAD_SIGNATURE


# --- claims ---------------------------------------------------------------------------------------------------------


def _is_our_issuer(issuer: object, project_id: str) -> bool:
    """The bare project id, or an http(s) URL with it as the last or second-last segment of the path."""
    if not isinstance(issuer, str) or not issuer or not project_id:
        return False
    return (_is_named_by if len(issuer) <= _KEPT_CHARS else _is_named_by.__wrapped__)(issuer, project_id)


# All tokens of a project have one issuer, or a few.
@lru_cache(maxsize=64)
def _is_named_by(issuer: str, project_id: str) -> bool:
    if issuer == project_id:
        return True
    url = _ISSUER_URL.fullmatch(issuer)
    return url is not None and project_id in url[1].split("/")[-2:]


def _is_for_us(claims: Mapping[str, Any], rules: TokenRules) -> bool:
    """Whether `aud` names us; of a kind that RFC 7519 section 4.1.3 does not know, it names nobody."""
    audience = claims.get("aud", [])
    if isinstance(audience, str):
        # An empty text names nobody, as an empty list does.
        audience = [audience] if audience else []
    if not isinstance(audience, list) or not _are_strings(audience):
        return False
    if rules.audience:
        return not set(rules.audience).isdisjoint(audience)
    return not audience or rules.project_id in audience


def _times(claims: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """`iat`, `nbf` and `exp` in seconds; None where one is not a whole number within reason or `exp` is missing."""
    issued_at_s = claims.get("iat", 0)
    not_before_s = claims.get("nbf", 0)
    expires_at_s = claims.get("exp")
    # By type, not isinstance: true is an int in Python.
    if type(expires_at_s) is not int or type(issued_at_s) is not int or type(not_before_s) is not int:
        return None
    if not (0 < expires_at_s < _MAX_SECONDS and 0 <= issued_at_s < _MAX_SECONDS and 0 <= not_before_s < _MAX_SECONDS):
        return None
    return issued_at_s, not_before_s, expires_at_s


def _subject(claims: Mapping[str, Any]) -> str | None:
    """`dsub`, where there is one, else `sub`; None where that is no text to put into a header or a log line."""
    subject = claims.get("dsub")
    if subject is None or subject == "":
        subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT_CHARS or _CONTROL.search(subject):
        return None
    return subject


def _are_strings(values: Iterable[object]) -> bool:
    return _TEXTS.issuperset(map(type, values))


def _names(value: object) -> tuple[str, ...]:
    # A bare text is not a list of one: "superadmin" would hold whatever is asked of it by substring elsewhere.
    if not isinstance(value, list):
        return ()
    for name in value:
        if type(name) is not str:
            return ()
    return tuple(value)


def _grants(holder: Mapping[str, Any]) -> Grants:
    return Grants(_names(holder.get("roles")), _names(holder.get("permissions")))


class _Tenants(Mapping[str, Grants]):
    """Grants by tenant, read when somebody asks: few routes do, and some tokens list forty."""

    __slots__ = ("_held", "_read")

    def __init__(self, held: Mapping[str, object]) -> None:
        self._held = held
        self._read: dict[str, Grants] = {}

    def __getitem__(self, tenant: str) -> Grants:
        grants = self._read.get(tenant)
        if grants is None:
            held = self._held[tenant]
            if not isinstance(held, dict):
                raise KeyError(tenant)
            grants = self._read[tenant] = _grants(held)
        return grants

    def __iter__(self) -> Iterator[str]:
        return (tenant for tenant, held in self._held.items() if isinstance(held, dict))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _tenants(value: object) -> Mapping[str, Grants]:
    """Grants by tenant; a claim of another shape lists no tenant, which is not the same as not being there."""
    return _Tenants(value) if isinstance(value, dict) else {}


def digest_of(token: str) -> bytes:
    """What a token is known by: SHA-256 of its signed part. Says nothing about its worth."""
    return hashlib.sha256(token.rpartition(".")[0].encode("ascii", "replace")).digest()
