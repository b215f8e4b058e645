"""Magic links: send one; whoever opens it and confirms is signed in.

Opening a link spends nothing, for scanners open what is in a mail: the page has a button, and its POST verifies. The
browser that asked returns to where it was going; any other to the front page.
"""

from gateway.core.model import Identity, Refuse, RequestFacts
from gateway.doors.answers import Answer, as_json
from gateway.doors.auth import journeys
from gateway.doors.auth.desk import FINE, Again, Desk, Problem, bad_request
from gateway.doors.auth.outcome import Body, Endpoints, Outcome, goes_to, read_form, read_query, wants_page
from gateway.doors.auth.sending import blank, masked, read_start
from gateway.idp_call import IdpRefusal, is_text
from gateway.idp_methods import magic_link as calls

_PURPOSE = "magic_link"
_WRONG_LINK = "The link was used already, or has run out. Ask for a new one."


class MagicLinks:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._secure = desk.server.cookies.secure
        self.endpoints: Endpoints = {
            "magiclink/send": {"GET": self._page, "POST": self._send},
            "magiclink/verify": {"GET": self._confirm, "POST": self._verify},
        }

    async def _page(self, facts: RequestFacts, body: Body) -> Outcome:
        return await blank(self._desk, facts, "magiclink_send.html")

    async def _send(self, facts: RequestFacts, body: Body) -> Outcome:
        desk, login = self._desk, self._desk.login
        start = await read_start(desk, facts, body, "magiclink_send.html", login.magic_link_channels)
        if isinstance(start, Outcome):
            return start
        journey, cookies = journeys.begin(facts, _PURPOSE, desk.back(start.rd), desk.clock.now_s(), secure=self._secure)
        uri = f"{desk.public_url(facts)}/.auth/magiclink/verify?journey={journey.id}"
        call = calls.send(start.login_id, start.channel, uri, login.template, or_sign_up=login.sign_up)
        sent = await desk.ask_or_refusal(facts, call, start.again)
        if isinstance(sent, Outcome):
            return sent
        if not wants_page(facts):
            told = {"sent_to": masked(start.login_id), "channel": start.channel.value}
            return Outcome(as_json(200, told), cookies)
        page = desk.page(
            "magiclink_sent.html",
            rd=start.rd,
            login_id=start.login_id,
            channel=start.channel.value,
            masked=masked(start.login_id),
        )
        return Outcome(page, cookies)

    async def _confirm(self, facts: RequestFacts, body: Body) -> Outcome:
        """What the link opens: it says what the button does, and spends nothing."""
        query = read_query(facts)
        if isinstance(query, Refuse):
            return Outcome(query)
        return Outcome(self._button(query.text("t"), query.text("journey"))(FINE))

    def _button(self, token: str, journey_id: str) -> Again:
        def page(problem: Problem) -> Answer:
            return self._desk.page("magiclink_confirm.html", problem, token=token, journey=journey_id)

        return page

    async def _verify(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        desk, token = self._desk, form.text("t")
        again = self._button("", form.text("journey"))
        if not is_text(token):
            return bad_request(facts, again, "The link is not whole. Copy all of it.")
        slowed = desk.too_many(facts, self._button(token, form.text("journey")))
        if slowed is not None:
            return slowed
        journey = journeys.find(facts, form.text("journey"), _PURPOSE, desk.clock.now_s(), secure=self._secure)
        rd, ends = (journey.rd, (journeys.end(journey, secure=self._secure),)) if journey else ("/", ())
        outcome = await desk.begin_or_refusal(facts, calls.verify(token), self._button(token, form.text("journey")))
        if isinstance(outcome, Outcome):
            return outcome
        if isinstance(outcome, IdpRefusal):
            # A second click, or a second tab: whoever is signed in already goes on.
            caller = await desk.caller(facts)
            if wants_page(facts) and isinstance(caller.who, Identity):
                return Outcome(goes_to(desk.back(rd)), ends, subject=caller.who.subject)
            return desk.refused(facts, outcome, again, _WRONG_LINK)
        return desk.arrived(facts, outcome, rd, cookies=ends)
