"""One-time codes: send one, and sign in with it."""

from gateway.core.model import Refuse, RequestFacts
from gateway.core.signin import Channel
from gateway.doors.answers import Answer, as_json
from gateway.doors.auth.desk import FINE, Again, Desk, Problem, bad_request
from gateway.doors.auth.outcome import Body, Endpoints, Outcome, read_form, wants_page
from gateway.doors.auth.sending import blank, masked, read_start
from gateway.idp_call import is_text
from gateway.idp_methods import otp as calls

_WRONG_CODE = "The code is wrong, was used already, or has run out."


class OneTimeCodes:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.endpoints: Endpoints = {
            "otp/send": {"GET": self._page, "POST": self._send},
            "otp/verify": {"POST": self._verify},
        }

    async def _page(self, facts: RequestFacts, body: Body) -> Outcome:
        return await blank(self._desk, facts, "otp_send.html")

    async def _send(self, facts: RequestFacts, body: Body) -> Outcome:
        login = self._desk.login
        start = await read_start(self._desk, facts, body, "otp_send.html", login.otp_channels)
        if isinstance(start, Outcome):
            return start
        code_page = self._code_page(start.login_id, start.channel, start.rd)
        # Who asks again is on the page for the code, and stays there while there is a wait.
        form_again = start.again if wants_page(facts) and not _is_resent(facts) else code_page
        call = calls.send(start.login_id, start.channel, login.template, or_sign_up=login.sign_up)
        sent = await self._desk.ask_or_refusal(facts, call, form_again)
        if isinstance(sent, Outcome):
            return sent
        if not wants_page(facts):
            return Outcome(as_json(200, {"sent_to": masked(start.login_id), "channel": start.channel.value}))
        return Outcome(code_page(FINE))

    async def _verify(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        login_id, code = form.text("login_id") or form.text("loginId"), "".join(form.text("code").split())
        channels = self._desk.login.otp_channels
        wanted, rd = form.text("channel") or channels[0], form.text("rd") or "/"
        again = self._code_page(login_id, Channel(wanted) if wanted in channels else channels[0], rd)
        if not is_text(login_id) or not is_text(code) or wanted not in channels:
            return bad_request(facts, again, "The code that was sent is needed.")
        slowed = self._desk.too_many(facts, again)
        if slowed is not None:
            return slowed
        return await self._desk.begin(facts, calls.verify(login_id, Channel(wanted), code), again, _WRONG_CODE, rd)

    def _code_page(self, login_id: str, channel: Channel, rd: str) -> Again:
        def page(problem: Problem) -> Answer:
            return self._desk.page(
                "otp_code.html",
                problem,
                rd=rd,
                login_id=login_id,
                channel=channel.value,
                masked=masked(login_id),
            )

        return page


def _is_resent(facts: RequestFacts) -> bool:
    return (facts.target.query or "") == "again"
