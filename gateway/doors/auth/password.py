"""Passwords: sign in."""

from gateway.core.model import Refuse, RequestFacts
from gateway.doors.answers import Answer
from gateway.doors.auth.desk import Desk, Problem, bad_request
from gateway.doors.auth.outcome import Body, Endpoints, Outcome, read_form
from gateway.idp_call import is_text
from gateway.idp_methods import password as calls

_WRONG_LOGIN = "The login or the password is wrong, or this account may not sign in this way."


class Passwords:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.endpoints: Endpoints = {"login": {"POST": self._sign_in}, "password/signin": {"POST": self._sign_in}}

    async def _sign_in(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        login_id, password = form.text("login_id") or form.text("loginId"), form.text("password")
        rd = self._desk.back(form.text("rd"))

        def again(problem: Problem) -> Answer:
            return self._desk.page("login.html", problem, rd=rd, login_id=login_id)

        if not is_text(login_id) or not is_password(password):
            return bad_request(facts, again, "The fields login_id and password are needed.")
        slowed = self._desk.too_many(facts, again)
        if slowed is not None:
            return slowed
        return await self._desk.begin(facts, calls.sign_in(login_id, password), again, _WRONG_LOGIN, rd)


def is_password(text: str) -> bool:
    """What may be sent as a password: up to 1,024 characters that UTF-8 can spell."""
    return 0 < len(text) <= 1024 and not any("\ud800" <= char <= "\udfff" for char in text)
