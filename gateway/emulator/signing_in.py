"""The end that all sign-in methods have in common: what the client asked of the sign-in, and the tokens."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.emulator.auth_api import refresh_token, tokens
from gateway.emulator.directory import Login, Person
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import ApiError, already_exists, not_valid, unauthenticated
from gateway.emulator.proofs import Change, Intent, Options
from gateway.emulator.wire import Answer, Call, Fields


def options_of(emulator: Emulator, call: Call, fields: Fields) -> Options:
    """The `loginOptions` of a request; a step-up or a further factor needs the refresh token of a sign-in before."""
    asked = fields.part("loginOptions")
    step_up, mfa = asked.flag("stepup"), asked.flag("mfa")
    before = emulator.sessions.find(refresh_token(emulator, call))[0] if step_up or mfa else None
    return Options(asked.mapping("customClaims"), asked.flag("revokeOtherSessions"), step_up, mfa, before)


def require_able(person: Person, options: Options | None = None) -> None:
    """Raise ApiError for somebody who may not sign in, or not on top of somebody else's session."""
    if person.status not in {"enabled", "invited"}:
        raise ApiError(403, "The user is disabled")
    if options is not None and options.before is not None and options.before.person_id != person.id:
        raise not_valid("The refresh token belongs to another user")


def signed_in(
    emulator: Emulator,
    call: Call,
    person: Person,
    factor: str,
    options: Options,
    *,
    first_seen: bool = False,
    claims: Mapping[str, Any] | None = None,
) -> Answer:
    """A session for somebody who has proven who they are by `factor`."""
    require_able(person, options)
    before = options.before
    if before is not None and not emulator.sessions.is_going_on(before):
        raise unauthenticated("The session that this sign-in adds to has ended")
    person.status = "enabled"
    person.logins.append(Login(emulator.now_s(), call.address))
    issued = emulator.sessions.start(
        person,
        claims=claims,
        client_claims=options.client_claims,
        end_others=options.end_others,
        factors=(*before.factors, factor) if before is not None and options.mfa else (factor,),
        step_up=options.step_up,
    )
    return tokens(emulator, issued, first_seen=first_seen)


def proven(emulator: Emulator, call: Call, intent: Intent) -> Answer:
    """Do what was to be done once a code or a link has come back, and sign in."""
    directory, person = emulator.directory, intent.person
    if intent.is_new:
        if any(directory.person_by_login(login_id) for login_id in person.login_ids):
            raise already_exists()
        directory.people[person.id] = person
    elif directory.people.get(person.id) is not person:
        raise unauthenticated("The user is gone")
    options = intent.options
    require_able(person, options)
    if intent.change is not None:
        person = _changed(emulator, person, intent.change)
        if person is not intent.person:
            options = replace(options, before=None)
    elif intent.contact is not None and person.profile.get(intent.contact) == intent.address:
        person.profile[_verified(intent.contact)] = True
    return signed_in(emulator, call, person, intent.factor, options, first_seen=intent.is_new, claims=intent.claims)


def _changed(emulator: Emulator, person: Person, change: Change) -> Person:
    """Whoever has the new address now: the person, or the one who had it as a login id before."""
    other = emulator.directory.person_by_login(change.address) if change.adds_login else None
    if other is not None and other is not person:
        kept, gone = (other, person) if change.keeps_other else (person, other)
        emulator.sessions.end_person(gone.id)
        emulator.directory.merge(kept, gone)
        person = kept
    elif change.adds_login and other is None:
        person.login_ids.append(change.address)
    person.profile[change.contact] = change.address
    person.profile[_verified(change.contact)] = True
    return person


def _verified(contact: str) -> str:
    return {"email": "verifiedEmail", "phone": "verifiedPhone"}[contact]
