"""Authenticator apps: sign in with a code, and enrol an app."""

from gateway.core.model import Refuse, RequestFacts
from gateway.doors.answers import Answer, as_json
from gateway.doors.auth.desk import FINE, Again, Desk, Problem, bad_request
from gateway.doors.auth.outcome import Body, Endpoint, Endpoints, Outcome, read_form, wants_page
from gateway.doors.auth.sending import blank
from gateway.idp_call import IdpRefusal, is_text
from gateway.idp_methods import account
from gateway.idp_methods import totp as calls
from gateway.idp_methods.totp import Enrolment

_WRONG = "The login or the code is wrong. Codes last half a minute, and each counts once."
_WRONG_CODE = "The code is wrong. Codes last half a minute, and each counts once."
_NOT_ENROLLED = "No authenticator app can be added to this account."
_NO_ACCOUNT_MADE = "No account could be made with this login. If you have one already, sign in."


class AuthenticatorApps:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        endpoints: dict[str, dict[str, Endpoint]] = {
            "totp/verify": {"GET": self._page, "POST": self._verify},
            "totp/enrol": {"GET": self._enrol_page, "POST": self._enrol},
            "totp/confirm": {"POST": self._confirm},
        }
        if desk.login.sign_up:
            endpoints["totp/signup"] = {"GET": self._sign_up_page, "POST": self._sign_up}
        self.endpoints: Endpoints = endpoints

    # --- sign in ----------------------------------------------------------------------------------------------------

    async def _page(self, facts: RequestFacts, body: Body) -> Outcome:
        return await blank(self._desk, facts, "totp_verify.html")

    async def _verify(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        login_id, code = (form.text("login_id") or form.text("loginId")).strip(), "".join(form.text("code").split())
        rd = form.text("rd") or "/"

        def again(problem: Problem) -> Answer:
            return self._desk.page("totp_verify.html", problem, rd=self._desk.back(rd), login_id=login_id)

        if not is_text(login_id) or not is_text(code):
            return bad_request(facts, again, "The fields login_id and code are needed.")
        slowed = self._desk.too_many(facts, again)
        if slowed is not None:
            return slowed
        return await self._desk.begin(facts, calls.verify(login_id, code), again, _WRONG, rd)

    # --- enrol ------------------------------------------------------------------------------------------------------

    async def _enrol_page(self, facts: RequestFacts, body: Body) -> Outcome:
        """Says what is to come; the key is made by the POST, so that nobody replaces an app by opening a link."""
        here = await self._desk.signed_in(facts)
        if isinstance(here, Outcome):
            return here
        cookies, written = await here.cookies()
        return Outcome(self._desk.page("totp_enrol.html"), cookies, written, here.subject)

    async def _enrol(self, facts: RequestFacts, body: Body) -> Outcome:
        here = await self._desk.signed_in(facts)
        if isinstance(here, Outcome):
            return here

        def again(problem: Problem) -> Answer:
            return self._desk.page("totp_enrol.html", problem)

        slowed = self._desk.too_many(facts, again)
        if slowed is not None:
            return slowed
        person = await self._desk.ask(facts, account.me(here.refresh_raw), again, _NOT_ENROLLED)
        if isinstance(person, Outcome):
            return person
        if not person.login_ids:
            return self._desk.refused(facts, IdpRefusal(400), again, _NOT_ENROLLED)
        call = calls.enrol(person.login_ids[0], here.refresh_raw)
        enrolment = await self._desk.ask(facts, call, again, _NOT_ENROLLED)
        if isinstance(enrolment, Outcome):
            return enrolment
        cookies, written = await here.cookies()
        answer = self._offer(facts, enrolment, person.login_ids[0], "/.auth/account")
        return Outcome(answer, cookies, written, here.subject)

    def _offer(self, facts: RequestFacts, enrolment: Enrolment, login_id: str, rd: str) -> Answer:
        if not wants_page(facts):
            told = {"login_id": login_id, "image": enrolment.picture, "key": enrolment.key, "url": enrolment.link}
            return as_json(200, told)
        groups = " ".join(enrolment.key[at : at + 4] for at in range(0, len(enrolment.key), 4))
        return self._desk.page(
            "totp_offer.html",
            FINE,
            picture=True,
            enrolment=enrolment,
            key=groups,
            login_id=login_id,
            rd=self._desk.back(rd),
        )

    async def _confirm(self, facts: RequestFacts, body: Body) -> Outcome:
        """A first code proves that the app has the key; it signs in, as any code does."""
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        login_id, code, rd = form.text("login_id"), "".join(form.text("code").split()), form.text("rd") or "/"
        again: Again = self._asking_for_code(login_id, rd)
        if not is_text(login_id) or not is_text(code):
            return bad_request(facts, again, "The fields login_id and code are needed.")
        slowed = self._desk.too_many(facts, again)
        if slowed is not None:
            return slowed
        return await self._desk.begin(facts, calls.verify(login_id, code), again, _WRONG_CODE, rd)

    def _asking_for_code(self, login_id: str, rd: str) -> Again:
        def page(problem: Problem) -> Answer:
            return self._desk.page("totp_code.html", problem, rd=self._desk.back(rd), login_id=login_id)

        return page

    # --- sign up ----------------------------------------------------------------------------------------------------

    async def _sign_up_page(self, facts: RequestFacts, body: Body) -> Outcome:
        return await blank(self._desk, facts, "totp_signup.html")

    async def _sign_up(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        login_id, rd = (form.text("login_id") or form.text("loginId")).strip(), form.text("rd") or "/"

        def again(problem: Problem) -> Answer:
            return self._desk.page("totp_signup.html", problem, rd=self._desk.back(rd), login_id=login_id)

        if not is_text(login_id):
            return bad_request(facts, again, "The field login_id is needed.")
        slowed = self._desk.too_many(facts, again)
        if slowed is not None:
            return slowed
        enrolment = await self._desk.ask(facts, calls.sign_up(login_id), again, _NO_ACCOUNT_MADE)
        if isinstance(enrolment, Outcome):
            return enrolment
        return Outcome(self._offer(facts, enrolment, login_id, rd))
