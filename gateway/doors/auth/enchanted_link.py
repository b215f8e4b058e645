"""Enchanted links: a page waits until the right one of three links is opened, wherever that is, and is signed in.

What is waited with is as good as a credential: it stays in an HttpOnly cookie of the browser that waits. Until the ten
minutes are over nothing tells a link that was never sent from one that nobody has opened (T-19).
"""

import secrets

from gateway.core.limits import NS_PER_S
from gateway.core.model import Limit, Per, Rate, Reason, Refuse, RequestFacts
from gateway.doors.answers import Answer, as_json
from gateway.doors.auth import journeys
from gateway.doors.auth.desk import FINE, Again, Desk, Problem, bad_request
from gateway.doors.auth.outcome import Body, Endpoints, Outcome, read_form, read_query, wants_page
from gateway.doors.auth.sending import blank, masked, read_start
from gateway.idp_call import IdpRefusal, is_text
from gateway.idp_methods import enchanted_link as calls
from gateway.idp_methods.enchanted_link import Waiting

_PURPOSE = "enchanted_link"
_NOT_YET = "The link has not been opened yet."
_OVER = "The wait is over. Ask for new links."
_WRONG_LINK = "The link was used already, has run out, or is not the right one of the three."
# The page asks every four seconds; whoever asks oftener is answered from here.
_POLLS = Limit("polls of one sign-in", Rate(3_500_000_000, 1), Per.CLIENT)


class EnchantedLinks:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._secure = desk.server.cookies.secure
        self.endpoints: Endpoints = {
            "enchantedlink/send": {"GET": self._page, "POST": self._send},
            "enchantedlink/poll": {"POST": self._poll},
            "enchantedlink/verify": {"GET": self._confirm, "POST": self._verify},
        }

    async def _page(self, facts: RequestFacts, body: Body) -> Outcome:
        return await blank(self._desk, facts, "enchantedlink_send.html")

    async def _send(self, facts: RequestFacts, body: Body) -> Outcome:
        desk, login = self._desk, self._desk.login
        start = await read_start(desk, facts, body, "enchantedlink_send.html", login.enchanted_link_channels)
        if isinstance(start, Outcome):
            return start
        uri = f"{desk.public_url(facts)}/.auth/enchantedlink/verify"
        call = calls.send(start.login_id, start.channel, uri, login.template, or_sign_up=login.sign_up)
        sent = await desk.ask_or_refusal(facts, call, start.again)
        if isinstance(sent, Outcome):
            return sent
        if isinstance(sent, IdpRefusal):
            sent = Waiting(str(10 + secrets.randbelow(90)), secrets.token_urlsafe(32))
        journey, cookies = journeys.begin(
            facts,
            _PURPOSE,
            desk.back(start.rd),
            desk.clock.now_s(),
            secure=self._secure,
            extra=f"{sent.link_id} {sent.pending_ref}",
        )
        if not wants_page(facts):
            told = {"sent_to": masked(start.login_id), "link_id": sent.link_id, "journey": journey.id}
            return Outcome(as_json(200, told), cookies)
        return Outcome(self._waiting(journey.id, sent.link_id, start.rd, masked(start.login_id))(FINE), cookies)

    def _waiting(self, journey_id: str, link_id: str, rd: str, address: str) -> Again:
        def page(problem: Problem) -> Answer:
            return self._desk.page(
                "enchantedlink_wait.html",
                problem,
                script=True,
                rd=rd,
                journey=journey_id,
                link_id=link_id,
                masked=address,
                life_s=journeys.LIFE_S,
            )

        return page

    async def _poll(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        desk, now_s = self._desk, self._desk.clock.now_s()
        journey = journeys.find(facts, form.text("journey"), _PURPOSE, now_s, secure=self._secure)
        if journey is None:
            return self._over(facts, form.text("rd") or "/")
        link_id, _, pending_ref = journey.extra.partition(" ")
        again = self._waiting(journey.id, link_id, journey.rd, form.text("masked")[:100])
        (standing,) = desk.allowances.take_all([(_POLLS, journey.id)], int(desk.clock.mono_s() * NS_PER_S))
        if standing.wait_ns:
            return self._pending(facts, again)
        outcome = await desk.begin_or_refusal(facts, calls.poll(pending_ref), again)
        if isinstance(outcome, Outcome):
            return outcome
        if isinstance(outcome, IdpRefusal):
            return self._pending(facts, again)
        return desk.arrived(facts, outcome, journey.rd, cookies=(journeys.end(journey, secure=self._secure),))

    @staticmethod
    def _pending(facts: RequestFacts, again: Again) -> Outcome:
        if wants_page(facts):
            return Outcome(again(Problem(200, _NOT_YET)))
        return Outcome(as_json(202, {"status": "pending"}))

    def _over(self, facts: RequestFacts, rd: str) -> Outcome:
        if wants_page(facts):
            return Outcome(self._desk.page("enchantedlink_send.html", Problem(400, _OVER), rd=self._desk.back(rd)))
        return Outcome(Refuse(Reason.LOGIN_STATE_INVALID, detail=_OVER))

    # --- the link itself --------------------------------------------------------------------------------------------

    async def _confirm(self, facts: RequestFacts, body: Body) -> Outcome:
        query = read_query(facts)
        if isinstance(query, Refuse):
            return Outcome(query)
        return Outcome(self._button(query.text("t"))(FINE))

    def _button(self, token: str) -> Again:
        def page(problem: Problem) -> Answer:
            return self._desk.page("enchantedlink_confirm.html", problem, token=token)

        return page

    async def _verify(self, facts: RequestFacts, body: Body) -> Outcome:
        """Lets the page that waits go on; the device that opened the link gets no session."""
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        token, again = form.text("t"), self._button("")
        if not is_text(token):
            return bad_request(facts, again, "The link is not whole. Copy all of it.")
        slowed = self._desk.too_many(facts, self._button(token))
        if slowed is not None:
            return slowed
        opened = await self._desk.ask_or_refusal(facts, calls.verify(token), self._button(token))
        if isinstance(opened, Outcome):
            return opened
        if isinstance(opened, IdpRefusal):
            return self._desk.refused(facts, opened, again, _WRONG_LINK)
        if wants_page(facts):
            return Outcome(self._desk.page("go_back.html"))
        return Outcome(Answer(204, (b"Cache-Control: no-store",)))
