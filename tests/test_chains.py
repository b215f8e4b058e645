"""Whom an open stream belongs to, while its session is renewed, refused and signed out."""

import pytest

from gateway.chains import Chain, Chains
from gateway.core.model import Identity, Reason
from gateway.core.tokens import digest_of
from tests.test_remedies import ADA, BOB, Still, identity

REFRESH = "head.refresh.signature"


@pytest.fixture
def clock() -> Still:
    return Still()


@pytest.fixture
def chains() -> Chains:
    return Chains()


def later(clock: Still, subject: str, name: str) -> Identity:
    clock.at_s += 10
    return identity(subject, clock, name=name)


def test_a_chain_goes_from_one_renewal_to_the_next(chains: Chains, clock: Still) -> None:
    chain = chains.follow(identity(ADA, clock), [b"r0"])
    for number in range(1, 4):
        newest = later(clock, ADA, f"s{number}")
        chains.renewed(b"r%d" % (number - 1), newest, b"r%d" % number)

        assert chain.identity is newest
    assert chain.over is None


def test_a_chain_is_known_by_what_it_came_with_and_by_the_newest(chains: Chains, clock: Still) -> None:
    first = identity(ADA, clock, name="s0")
    chain = chains.follow(first, [b"r0"])
    middle, newest = later(clock, ADA, "s1"), later(clock, ADA, "s2")
    chains.renewed(b"r0", middle, b"r1")
    chains.renewed(b"r1", newest, b"r2")

    assert chain.digests == {first.digest, b"r0", newest.digest, b"r2"}
    chains.refused(b"r1", Reason.SESSION_REVOKED)
    assert chain.over is None


@pytest.mark.parametrize("digest", [b"r0", b"r1"])
def test_t24_whatever_a_chain_is_known_by_ends_it_and_its_end_is_told_once(
    chains: Chains, clock: Still, digest: bytes
) -> None:
    chain, told = chains.follow(identity(ADA, clock), [b"r0"]), []
    chain.on_over = lambda: told.append(chain.over)
    chains.renewed(b"r0", later(clock, ADA, "s1"), b"r1")
    chains.refused(digest, Reason.SESSION_REVOKED)
    chains.refused(digest, Reason.ACCESS_KEY_REFUSED)

    assert told == [Reason.SESSION_REVOKED]


def test_t11_a_chain_never_goes_on_as_somebody_else(chains: Chains, clock: Still) -> None:
    """A planted refresh cookie of Bob's beside Ada's session."""
    mine = identity(ADA, clock)
    chain = chains.follow(mine, [b"r0", digest_of(REFRESH)])
    chains.renewed(b"r0", later(clock, BOB, "s1"), b"r1")
    chains.presented(later(clock, BOB, "s2"), (REFRESH,))

    assert chain.identity is mine


def test_an_older_session_never_takes_the_place_of_a_newer_one(chains: Chains, clock: Still) -> None:
    older = identity(ADA, clock, name="old")
    newer = later(clock, ADA, "new")
    chain = chains.follow(newer, [b"r0", digest_of(REFRESH)])
    chains.renewed(b"r0", older, b"r1")
    chains.presented(older, (REFRESH,))

    assert chain.identity is newer


def test_a_newer_session_beside_a_known_refresh_token_is_of_the_chain(chains: Chains, clock: Still) -> None:
    chain = chains.follow(identity(ADA, clock), [digest_of(REFRESH)])
    newer, stranger = later(clock, ADA, "new"), later(clock, ADA, "stranger")
    chains.presented(newer, ("some.other.token", REFRESH))
    chains.presented(stranger, ("some.other.token",))

    assert chain.identity is newer


def test_a_session_that_was_heard_of_before_its_stream_began_is_heard_of_again(chains: Chains, clock: Still) -> None:
    """A request with the new session came while a stream of another tab was open, before one with the old began."""
    old = identity(ADA, clock, name="old")
    newer = later(clock, ADA, "new")
    first = chains.follow(old, [digest_of(REFRESH)])
    chains.presented(newer, (REFRESH,))
    second = chains.follow(old, [digest_of(REFRESH)])
    chains.presented(newer, (REFRESH,))

    assert (first.identity, second.identity) == (newer, newer)


def test_a_sign_out_everywhere_ends_no_session_that_is_newer(chains: Chains, clock: Still) -> None:
    old, new, other = (
        chains.follow(who, []) for who in (identity(ADA, clock), later(clock, ADA, "new"), later(clock, BOB, "bob"))
    )
    chains.subject_signed_out(ADA, lambda who: who is old.identity)

    assert [chain.over for chain in (old, new, other)] == [Reason.SESSION_REVOKED, None, None]


def test_a_chain_that_was_left_is_forgotten_and_told_nothing(chains: Chains, clock: Still) -> None:
    told: list[Chain] = []
    kept, left = chains.follow(identity(ADA, clock), [b"r0"]), chains.follow(identity(ADA, clock), [b"r0"])
    for chain in (kept, left):
        chain.on_over = lambda chain=chain: told.append(chain)
    chains.renewed(b"r0", later(clock, ADA, "s1"), b"r1")
    chains.leave(left)
    chains.presented(later(clock, ADA, "s2"), (REFRESH,))
    chains.refused(b"r1", Reason.SESSION_REVOKED)
    chains.leave(kept)

    assert told == [kept]
    assert (chains._by_digest, chains._by_subject, chains._heard) == ({}, {}, {})
