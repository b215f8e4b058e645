"""A session's own endpoints: who am I, renew, another tenant, sign out here and everywhere, and the way to sign in."""

import asyncio

from gateway.core.credentials import cleared_cookies
from gateway.core.errors import IdentityProviderError
from gateway.core.limits import whole_seconds
from gateway.core.model import Reason, Refuse, RequestFacts
from gateway.doors.answers import Answer, as_json
from gateway.doors.auth.desk import Desk, about_identity, cookies_of
from gateway.doors.auth.outcome import Body, Endpoints, Outcome, refused_by, wants_page
from gateway.sessions import Caller


class OwnSession:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._sessions = desk.sessions
        self.endpoints: Endpoints = {
            "me": {"GET": self._me},
            "refresh": {"POST": self._refresh},
            "logout": {"POST": self._logout},
            "logout-all": {"POST": self._logout_all},
        }

    async def _me(self, facts: RequestFacts, body: Body) -> Outcome:
        caller = await self._desk.caller(facts)
        if isinstance(caller.who, Reason):
            return Outcome(Refuse(caller.who, retry_after_s=_wait_s(caller)))
        cookies, written = await cookies_of(caller)
        return Outcome(as_json(200, about_identity(caller.who)), cookies, written, caller.who.subject)

    async def _refresh(self, facts: RequestFacts, body: Body) -> Outcome:
        found = await self._desk.refresh_token(facts)
        if isinstance(found, Reason):
            return Outcome(Refuse(found))
        outcome = await self._sessions.renewed(*found)
        return await self._desk.replaced(outcome, found[1])

    async def _logout(self, facts: RequestFacts, body: Body) -> Outcome:
        return await self._sign_out(facts, everywhere=False)

    async def _logout_all(self, facts: RequestFacts, body: Body) -> Outcome:
        return await self._sign_out(facts, everywhere=True)

    async def _sign_out(self, facts: RequestFacts, *, everywhere: bool) -> Outcome:
        """Ends the session here whatever Descope says; the cookies go in every case but a contradiction."""
        found = self._desk.credentials(facts)
        if isinstance(found, Reason):
            return Outcome(Refuse(found))
        cleared = cleared_cookies(self._desk.server.cookies)
        fault: IdentityProviderError | None = None
        try:
            await self._sessions.revoke_sessions(found)
            refresh = await self._sessions.refresh_token(found)
            if isinstance(refresh, tuple):
                # Whoever hangs up half way has still signed out.
                work = self._sessions.signed_out(*refresh, everywhere=everywhere)
                await asyncio.shield(self._desk.tasks.spawn(work, "sign out"))
            elif everywhere:
                return Outcome(Refuse(refresh), cleared)
        except IdentityProviderError as err:
            fault = err
        if fault is not None:
            detail = "Signed out here, but Descope could not be told."
            refuse = refused_by(fault)
            return Outcome(Refuse(refuse.reason, retry_after_s=refuse.retry_after_s, detail=detail), cleared)
        if wants_page(facts):
            return Outcome(self._desk.page("signed_out.html", login_url=self._desk.login.url), cleared)
        return Outcome(Answer(204, (b"Cache-Control: no-store",)), cleared)


def _wait_s(caller: Caller) -> int | None:
    return whole_seconds(caller.wait_ns) if caller.wait_ns else None
