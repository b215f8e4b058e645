"""The keys of assertions: whoever verifies never meets one that he could not have found."""

import asyncio
import json
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from structlog.testing import capture_logs

from gateway.assertion_keys import (
    AHEAD_S,
    KEPT_S,
    PUBLISHED_MAY_BE_KEPT_S,
    AssertionKeys,
    SigningKey,
    UnusableKeys,
    fresh_key,
    read_key_file,
)
from gateway.core.errors import ConfigError
from gateway.core.model import AssertionRules
from tests.conftest import Hands

DAY_S = 86_400.0
PAYLOAD = b'{"sub":"U2ada"}'
ANY_KEY = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def pem(key: ANY_KEY, encryption: KeySerializationEncryption | None = None, *, old_form: bool = False) -> bytes:
    form = PrivateFormat.TraditionalOpenSSL if old_form else PrivateFormat.PKCS8
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def write(path: Path, keys: Sequence[SigningKey]) -> None:
    path.write_bytes(b"".join(pem(key.private) for key in keys))


def signer(keys: AssertionKeys) -> str:
    """The id of the key that signs now, which must be published now and verify what it signed."""
    token = keys.sign(PAYLOAD)
    kid: str = jwt.get_unverified_header(token)["kid"]
    found = {one.key_id: one for one in jwt.PyJWKSet.from_dict(dict(keys.published())).keys}
    assert jwt.decode(token, found[kid], ["ES256"]) == {"sub": "U2ada"}
    return kid


def ids(keys: AssertionKeys) -> list[str]:
    return [one["kid"] for one in keys.published()["keys"]]


# --- keys that are made ---------------------------------------------------------------------------------------------


def test_a_key_is_published_longer_than_anybody_keeps_the_set_before_it_signs() -> None:
    clock = Hands()
    keys = AssertionKeys(AssertionRules(), clock)
    first = signer(keys)

    clock.offset_s += DAY_S
    signed_by = signer(keys)
    at_once = ids(keys)
    clock.offset_s += AHEAD_S - 1
    before = signer(keys)
    clock.offset_s += 1
    after = signer(keys)

    assert signed_by == before == first
    assert AHEAD_S > PUBLISHED_MAY_BE_KEPT_S
    assert at_once == [first, after]
    assert after != first


def test_an_old_key_is_published_until_its_last_assertion_has_run_out() -> None:
    clock = Hands()
    keys = AssertionKeys(AssertionRules(), clock)
    first = signer(keys)
    clock.offset_s += DAY_S
    signer(keys)
    clock.offset_s += AHEAD_S
    second = signer(keys)

    clock.offset_s += KEPT_S - 1
    still = ids(keys)
    clock.offset_s += 1

    assert KEPT_S > 60
    assert still == [first, second]
    assert ids(keys) == [second]


def test_keys_that_are_made_rotate_for_ever() -> None:
    clock = Hands()
    keys = AssertionKeys(AssertionRules(rotate_s=3_600.0), clock)
    signers: list[str] = []

    for _ in range(200):
        clock.offset_s += 300.0
        kid = signer(keys)
        if kid not in signers[-1:]:
            signers.append(kid)
        assert 1 <= len(ids(keys)) <= 2

    assert len(signers) == len(set(signers)) > 10


def test_a_gateway_that_nobody_asked_for_days_publishes_before_it_signs() -> None:
    clock = Hands()
    keys = AssertionKeys(AssertionRules(), clock)
    first = signer(keys)

    clock.offset_s += 10 * DAY_S

    assert signer(keys) == first
    assert len(ids(keys)) == 2


def test_a_key_that_is_made_lives_in_one_gateway_only() -> None:
    one, other = AssertionKeys(AssertionRules(), Hands()), AssertionKeys(AssertionRules(), Hands())

    assert signer(one) != signer(other)


# --- what is published ----------------------------------------------------------------------------------------------


def test_t16_only_public_parts_are_published() -> None:
    keys = AssertionKeys(AssertionRules(), Hands())

    (published,) = keys.published()["keys"]

    assert published.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert (published["kty"], published["crv"], published["alg"], published["use"]) == ("EC", "P-256", "ES256", "sig")
    assert [len(urlsafe_b64decode(published[part] + "=")) for part in "xy"] == [32, 32]


def test_t16_a_key_does_not_tell_itself() -> None:
    key = fresh_key()

    assert str(key.private.private_numbers().private_value) not in repr(key)
    assert "private" not in repr(key).lower()


def test_a_key_has_its_thumbprint_for_a_name() -> None:
    # RFC 7638, with the key of RFC 7517 appendix A.2; the thumbprint comes from another implementation.
    numbers = [
        int.from_bytes(urlsafe_b64decode(part + "=="), "big")
        for part in ("870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",)
    ]
    private = ec.derive_private_key(numbers[0], ec.SECP256R1())

    key = SigningKey.of(private)

    assert key.public["x"] == "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"
    assert key.public["y"] == "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
    assert key.id == "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"


def test_a_signature_is_64_bytes_whatever_its_numbers() -> None:
    key = fresh_key()

    lengths = {len(urlsafe_b64decode(key.sign(PAYLOAD + b"%d" % n).split(".")[2] + "==")) for n in range(600)}

    assert lengths == {64}


# --- keys from a file -----------------------------------------------------------------------------------------------


def test_of_a_file_the_first_key_signs_and_all_are_published(tmp_path: Path) -> None:
    first, second = fresh_key(), fresh_key()
    file = tmp_path / "keys.pem"
    write(file, (first, second))

    keys = AssertionKeys(AssertionRules(key_file=str(file)), Hands())

    assert signer(keys) == first.id
    assert ids(keys) == [first.id, second.id]


async def test_a_new_key_in_place_of_the_old_one_waits_its_turn(tmp_path: Path) -> None:
    clock, file = Hands(), tmp_path / "keys.pem"
    old, new = fresh_key(), fresh_key()
    write(file, (old,))
    keys = AssertionKeys(AssertionRules(key_file=str(file)), clock)
    write(file, (new,))

    await keys.look()
    told = [(signer(keys), ids(keys))]
    for wait_s in (AHEAD_S - 1, 1, KEPT_S - 1, 1):
        clock.offset_s += wait_s
        told.append((signer(keys), ids(keys)))

    both = [old.id, new.id]
    assert told == [(old.id, both), (old.id, both), (new.id, both), (new.id, both), (new.id, [new.id])]


async def test_a_key_that_has_been_published_long_enough_signs_at_once(tmp_path: Path) -> None:
    clock, file = Hands(), tmp_path / "keys.pem"
    old, new = fresh_key(), fresh_key()
    write(file, (old, new))
    keys = AssertionKeys(AssertionRules(key_file=str(file)), clock)
    clock.offset_s += AHEAD_S

    write(file, (new, old))
    await keys.look()
    swapped = signer(keys), sorted(ids(keys))
    clock.offset_s += 10 * KEPT_S
    kept = sorted(ids(keys))
    write(file, (new,))
    await keys.look()
    clock.offset_s += KEPT_S

    assert swapped == (new.id, sorted((old.id, new.id)))
    assert kept == sorted((old.id, new.id))  # for the file still has it
    assert (signer(keys), ids(keys)) == (new.id, [new.id])


async def test_a_key_that_was_taken_back_before_its_turn_never_signs(tmp_path: Path) -> None:
    clock, file = Hands(), tmp_path / "keys.pem"
    old, mistake = fresh_key(), fresh_key()
    write(file, (old,))
    keys = AssertionKeys(AssertionRules(key_file=str(file)), clock)

    for held in ((mistake,), (old,)):
        write(file, held)
        await keys.look()
    clock.offset_s += AHEAD_S + KEPT_S

    assert (signer(keys), ids(keys)) == (old.id, [old.id])


async def test_a_key_that_came_back_stays(tmp_path: Path) -> None:
    clock, file = Hands(), tmp_path / "keys.pem"
    first, second = fresh_key(), fresh_key()
    write(file, (first, second))
    keys = AssertionKeys(AssertionRules(key_file=str(file)), clock)

    for held in ((first,), (first, second)):
        write(file, held)
        await keys.look()
    clock.offset_s += 2 * KEPT_S

    assert ids(keys) == [first.id, second.id]


async def test_a_file_that_cannot_be_used_changes_nothing_and_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "keys.pem"
    old, new = fresh_key(), fresh_key()
    write(file, (old,))
    keys = AssertionKeys(AssertionRules(key_file=str(file)), Hands())

    with capture_logs() as told:
        for held in (pem(new.private)[:-40], b"", b""):
            file.write_bytes(held)
            await keys.look()
            await keys.look()
        before = ids(keys)
        file.unlink()
        await keys.look()
        write(file, (old, new))
        await keys.look()

    warnings = [line["cause"] for line in told if line["log_level"] == "warning"]
    assert before == [old.id]
    assert ids(keys) == [old.id, new.id]
    assert [cause.split(";")[0].split(":")[0] for cause in warnings] == [
        "the file has no private key in the form PEM (-----BEGIN PRIVATE KEY-----)",
        "the file cannot be read",
    ]


async def test_the_file_is_looked_at_again_and_again(tmp_path: Path) -> None:
    file = tmp_path / "keys.pem"
    first, second = fresh_key(), fresh_key()
    write(file, (first,))
    keys = AssertionKeys(AssertionRules(key_file=str(file)), Hands())
    watch = asyncio.get_running_loop().create_task(keys.keep_watch(every_s=0.005))

    write(file, (first, second))
    async with asyncio.timeout(5):
        while ids(keys) != [first.id, second.id]:
            await asyncio.sleep(0.005)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


@pytest.mark.parametrize("old_form", [False, True], ids=["pkcs8", "sec1"])
def test_a_key_is_read_in_either_form_with_whatever_stands_beside_it(tmp_path: Path, old_form: bool) -> None:
    key, file = fresh_key(), tmp_path / "keys.pem"
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    file.write_bytes(b"made on a Monday\n" + parameters + pem(key.private, old_form=old_form))

    assert [one.id for one in read_key_file(str(file))] == [key.id]


@pytest.mark.parametrize(
    ("held", "told"),
    [
        pytest.param(b"", "no private key in the form PEM", id="empty"),
        pytest.param(b"secret words", "no private key in the form PEM", id="something else"),
        pytest.param(
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be read", id="a broken key"
        ),
        pytest.param(pem(rsa.generate_private_key(65537, 2048)), "needs a key on the curve P-256", id="rsa"),
        pytest.param(pem(ec.generate_private_key(ec.SECP384R1())), "needs a key on the curve P-256", id="p-384"),
        pytest.param(
            pem(ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"word")), "a password", id="encrypted"
        ),
        pytest.param(b"".join(pem(fresh_key().private) for _ in range(9)), "more than 8 keys", id="too many"),
        pytest.param(pem(fresh_key().private) + b" " * 65_536, "more than 64 KiB", id="too large"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_a_remedy_and_unquoted(tmp_path: Path, held: bytes, told: str) -> None:
    file = tmp_path / "keys.pem"
    file.write_bytes(held)

    with pytest.raises(UnusableKeys) as fault:
        read_key_file(str(file))
    with pytest.raises(ConfigError) as at_start:
        AssertionKeys(AssertionRules(key_file=str(file)), Hands())

    assert told in str(fault.value)
    assert at_start.value.problems == (f"assertion.key_file: {fault.value}",)
    assert "secret" not in str(fault.value)
    assert fault.value.__cause__ is None


def test_a_file_that_is_gone_at_start_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        AssertionKeys(AssertionRules(key_file=str(tmp_path / "none.pem")), Hands())

    assert told.value.problems == ("assertion.key_file: the file cannot be read: No such file or directory",)


def test_the_jws_is_the_one_that_pyjwt_reads() -> None:
    key = fresh_key()

    token = key.sign(PAYLOAD)

    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": key.id, "typ": "JWT"}
    assert jwt.decode(token, jwt.PyJWK(key.public), ["ES256"]) == json.loads(PAYLOAD)
