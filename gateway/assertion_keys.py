"""The keys that sign assertions: made at start, or read from a file that is looked at again and again.

Nobody who verifies is to meet a key that he cannot find. So a new key is published for longer than anybody keeps the
published keys before it signs, and an old one stays published until its last assertion has run out. The same holds for
keys that are made, once in `rotate_s`, and for a file that has changed: the first key in it signs, once its time has
come; the others are published only. After a restart the first key signs at once, for nobody knows what was before.
"""

import asyncio
import hashlib
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gateway import changes
from gateway.changes import Change, Tell
from gateway.clock import Clock
from gateway.core.assertion import LIFE_S, Claims
from gateway.core.errors import ConfigError
from gateway.core.model import Admit, AssertionRules, Identity
from gateway.telemetry import log

PUBLISHED_MAY_BE_KEPT_S = 300  # what we tell those who fetch the keys
AHEAD_S = 2.0 * PUBLISHED_MAY_BE_KEPT_S
KEPT_S = 2.0 * LIFE_S  # as long again for clocks that go late
LOOK_EVERY_S = 30.0
_MOST_KEYS = 8
_MOST_BYTES = 64 * 1024
_ES256 = ec.ECDSA(SHA256())
_PEM = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_REMEDY = "make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"


class UnusableKeys(Exception):
    """The file holds no keys that sign assertions; the text says what is wrong and the remedy, and quotes nothing."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One P-256 key. id: its thumbprint (RFC 7638), the same wherever the key is. head: the JWS header, encoded."""

    id: str
    head: bytes
    public: dict[str, str]
    private: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def of(cls, private: ec.EllipticCurvePrivateKey) -> "SigningKey":
        numbers = private.public_key().public_numbers()
        point = {"crv": "P-256", "kty": "EC", "x": _of_number(numbers.x), "y": _of_number(numbers.y)}
        key_id = _spelt(hashlib.sha256(_compact(point)).digest()).decode("ascii")
        head = _spelt(_compact({"alg": "ES256", "kid": key_id, "typ": "JWT"}))
        return cls(key_id, head, {**point, "kid": key_id, "alg": "ES256", "use": "sig"}, private)

    def sign(self, payload: bytes) -> str:
        """The compact JWS of `payload`."""
        text = self.head + b"." + _spelt(payload)
        r, s = decode_dss_signature(self.private.sign(text, _ES256))
        return (text + b"." + _spelt(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode("ascii")


def fresh_key() -> SigningKey:
    return SigningKey.of(ec.generate_private_key(ec.SECP256R1()))


def read_key_file(path: str) -> tuple[SigningKey, ...]:
    """The keys of a PEM file in its order, at least one; raises OSError or UnusableKeys."""
    with Path(path).open("rb") as file:
        text = file.read(_MOST_BYTES + 1)
    blocks = [found[0] for found in _PEM.finditer(text)]
    if len(text) > _MOST_BYTES:
        raise UnusableKeys("the file has more than 64 KiB, which no few keys need; take away what is none")
    if not blocks:
        raise UnusableKeys(f"the file has no private key in the form PEM (-----BEGIN PRIVATE KEY-----); {_REMEDY}")
    if len(blocks) > _MOST_KEYS:
        raise UnusableKeys(f"the file has more than {_MOST_KEYS} keys; take those away that nobody needs any more")
    return tuple(_read(block) for block in blocks)


def _read(block: bytes) -> SigningKey:
    try:
        private = load_pem_private_key(block, None)
    except TypeError:
        raise UnusableKeys(
            "the private key asks for a password, and nobody is there to give it; store it without one"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKeys(f"a private key in the file cannot be read; {_REMEDY}") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise UnusableKeys(f"assertions are signed with ES256, which needs a key on the curve P-256; {_REMEDY}")
    return SigningKey.of(private)


@dataclass(slots=True)
class _Published:
    key: SigningKey
    since_s: float
    until_s: float | None = None  # None: until something else is said


class AssertionKeys:
    """Signs, and tells which keys to verify with; raises ConfigError where the key file cannot be used."""

    def __init__(
        self, rules: AssertionRules, clock: Clock, tell: Tell = changes.nobody, *, follows: bool = False
    ) -> None:
        """follows: makes no keys and reads none, but has those of another process, once `adopt` has been called."""
        self._rules = rules
        self._clock = clock
        self._tell = tell
        self._follows = follows
        self._fault = ""
        keys = (fresh_key(),) if follows else self._read_at_start()
        now_s = clock.mono_s()
        self._published = {key.id: _Published(key, now_s) for key in keys}
        self._offered = tuple(self._published)
        self._signing = keys[0]
        self._next: SigningKey | None = None
        self._made_s = now_s
        self._due_s = 0.0
        self._turn(now_s)

    def sign(self, payload: bytes) -> str:
        """The compact JWS of `payload` under the key whose turn it is."""
        now_s = self._clock.mono_s()
        if now_s >= self._due_s:
            self._turn(now_s)
        return self._signing.sign(payload)

    def published(self) -> dict[str, list[dict[str, str]]]:
        """The JWK set: public keys, those to come and those that have just gone included."""
        self._turn(self._clock.mono_s())
        return {"keys": [one.key.public for one in self._published.values()]}

    def offer(self, keys: Sequence[SigningKey]) -> None:
        """From now on these are the keys: the first is to sign, all are published."""
        now_s = self._clock.mono_s()
        self._offered = tuple(key.id for key in keys)
        for key in keys:
            known = self._published.setdefault(key.id, _Published(key, now_s))
            known.until_s = None
        for key_id, one in self._published.items():
            if key_id not in self._offered and key_id != self._signing.id and one.until_s is None:
                one.until_s = now_s + KEPT_S
        self._next = keys[0] if keys[0].id != self._signing.id else None
        self._turn(now_s)
        self._tell_all()

    def _tell_all(self) -> None:
        for change in self.changes():
            self._tell(change)

    def changes(self) -> Iterator[Change]:
        """The keys with their times, as they would be told to another process that signs."""
        published = [[_pem(one.key), one.since_s, one.until_s] for one in self._published.values()]
        following = self._next.id if self._next is not None else ""
        yield changes.assertion_keys([published, list(self._offered), self._signing.id, following, self._made_s])

    def adopt(self, known: list[Any]) -> None:
        """Go on with the keys that another process told of with `changes`; younger ones than ours are passed over."""
        published, offered, signing, following, made_s = known
        if not self._follows and made_s >= self._made_s:
            return
        own = [self._published[key_id].key for key_id in self._offered]
        known_keys = [(_read(pem.encode("ascii")), since_s, until_s) for pem, since_s, until_s in published]
        self._published = {key.id: _Published(key, since_s, until_s) for key, since_s, until_s in known_keys}
        self._offered = tuple(offered)
        self._signing = self._published[signing].key
        self._next = self._published[following].key if following else None
        self._made_s = made_s
        self._turn(self._clock.mono_s())
        if not self._follows and self._rules.key_file and tuple(key.id for key in own) != self._offered:
            self.offer(own)  # the file has changed meanwhile
        elif not self._follows:
            self._tell_all()

    async def look(self) -> None:
        """Take what the key file holds now; what cannot be used is told once, and changes nothing."""
        if not self._rules.key_file or self._follows:
            return
        try:
            keys = await asyncio.to_thread(read_key_file, self._rules.key_file)
        except (OSError, UnusableKeys) as err:
            fault = _told(err)
            if fault != self._fault:
                log.warning("assertion keys not read again; those known go on signing", cause=fault)
            self._fault = fault
            return
        self._fault = ""
        if tuple(dict.fromkeys(key.id for key in keys)) != self._offered:
            self.offer(keys)
            log.info("assertion keys have changed", signing=self._signing.id, next=self._next and self._next.id)

    async def keep_watch(self, every_s: float = LOOK_EVERY_S) -> None:
        """Runs as long as the gateway."""
        while True:
            await asyncio.sleep(every_s)
            await self.look()

    def _read_at_start(self) -> tuple[SigningKey, ...]:
        if not self._rules.key_file:
            return (fresh_key(),)
        try:
            return read_key_file(self._rules.key_file)
        except (OSError, UnusableKeys) as err:
            raise ConfigError((f"assertion.key_file: {_told(err)}",)) from None

    def _turn(self, now_s: float) -> None:
        """Do what is due by now, and note when the next thing will be."""
        rotate_at_s = float("inf") if self._rules.key_file or self._follows else self._made_s + self._rules.rotate_s
        if now_s >= rotate_at_s:
            self._made_s = now_s
            self.offer((fresh_key(),))  # comes back here
            return
        switch_at_s = float("inf")
        if self._next is not None:
            switch_at_s = self._published[self._next.id].since_s + AHEAD_S
            if now_s >= switch_at_s:
                old = self._published[self._signing.id]
                if old.key.id not in self._offered:
                    old.until_s = now_s + KEPT_S
                self._signing, self._next, switch_at_s = self._next, None, float("inf")
        self._published = {
            key_id: one for key_id, one in self._published.items() if one.until_s is None or now_s < one.until_s
        }
        ends = [one.until_s for one in self._published.values() if one.until_s is not None]
        self._due_s = min(rotate_at_s, switch_at_s, *ends)


class Assertions:
    """Writes the assertion of one request."""

    def __init__(self, rules: AssertionRules, keys: AssertionKeys, clock: Clock) -> None:
        self._claims = Claims(rules.issuer)
        self._keys = keys
        self._clock = clock

    def of(self, identity: Identity, admit: Admit, request_id: str) -> str:
        return self._keys.sign(self._claims.text(identity, admit, request_id, int(self._clock.now_s())))


def _told(err: OSError | UnusableKeys) -> str:
    if isinstance(err, UnusableKeys):
        return str(err)
    return f"the file cannot be read: {err.strerror or type(err).__name__}"


def _pem(key: SigningKey) -> str:
    return key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def _of_number(number: int) -> str:
    return _spelt(number.to_bytes(32, "big")).decode("ascii")


def _compact(document: dict[str, str]) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode("ascii")


def _spelt(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")
