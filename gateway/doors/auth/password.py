"""Passwords: sign up, sign in, replace one that has run out, change one's own."""

from gateway.core.model import Reason, Refuse, RequestFacts
from gateway.core.signin import Method
from gateway.doors.answers import Answer, as_json
from gateway.doors.auth.desk import Desk, Problem, bad_request
from gateway.doors.auth.outcome import Body, Endpoint, Endpoints, Form, Outcome, read_form, read_query, wants_page
from gateway.doors.auth.password_rules import PasswordRules, is_password, what_lacks
from gateway.idp_call import IdpRefusal, is_text
from gateway.idp_methods import password as calls

_WRONG_LOGIN = "The login or the password is wrong, or this account may not sign in this way."
_RUN_OUT = "This password has run out. Choose a new one."
_WRONG_OLD = "The login or the old password is wrong, or the new password is not accepted."
_NO_ACCOUNT_MADE = "No account could be made with these words. If you have one already, sign in, or reset its password."
# What Descope answers for a right password that has run out or was temporary.
_EXPIRED = "E062909"


class Passwords:
    def __init__(self, desk: Desk, rules: PasswordRules) -> None:
        self._desk = desk
        self._rules = rules
        endpoints: dict[str, dict[str, Endpoint]] = {
            "login": {"POST": self._sign_in},
            "password/signin": {"GET": self._sign_in_page, "POST": self._sign_in},
            "password/policy": {"GET": self._policy},
            "password/replace": {"GET": self._replace_page, "POST": self._replace},
            "password/update": {"GET": self._update_page, "POST": self._update},
        }
        if desk.login.sign_up:
            endpoints["password/signup"] = {"GET": self._sign_up_page, "POST": self._sign_up}
        self.endpoints: Endpoints = endpoints

    # --- sign in ----------------------------------------------------------------------------------------------------

    async def _sign_in_page(self, facts: RequestFacts, body: Body) -> Outcome:
        return await self._blank(facts, "password_signin.html", with_policy=False)

    async def _sign_in(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        login_id, password, rd = login_id_of(form), form.text("password"), form.text("rd") or "/"
        page = "login.html" if self._desk.login.methods[0] is Method.PASSWORD else "password_signin.html"

        def again(problem: Problem) -> Answer:
            return self._desk.page(page, problem, rd=rd, login_id=login_id)

        if not is_text(login_id) or not is_password(password):
            return bad_request(facts, again, "The fields login_id and password are needed.")
        slowed = self._desk.too_many(facts, again)
        if slowed is not None:
            return slowed
        answer = await self._desk.begin_or_refusal(facts, calls.sign_in(login_id, password), again)
        if isinstance(answer, IdpRefusal) and answer.code == _EXPIRED:
            return await self._to_be_replaced(facts, answer, login_id, rd)
        if isinstance(answer, IdpRefusal):
            return self._desk.refused(facts, answer, again, _WRONG_LOGIN)
        return answer if isinstance(answer, Outcome) else self._desk.arrived(facts, answer, rd)

    async def _to_be_replaced(self, facts: RequestFacts, refusal: IdpRefusal, login_id: str, rd: str) -> Outcome:
        policy = await self._rules.policy() if wants_page(facts) else None

        def replace_page(problem: Problem) -> Answer:
            return self._desk.page("password_replace.html", problem, rd=rd, login_id=login_id, policy=policy)

        return self._desk.refused(facts, refusal, replace_page, _RUN_OUT)

    # --- sign up, replace, change -----------------------------------------------------------------------------------

    async def _sign_up_page(self, facts: RequestFacts, body: Body) -> Outcome:
        return await self._blank(facts, "password_signup.html")

    async def _sign_up(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        login_id, password, name = login_id_of(form), form.text("password"), form.text("name").strip()
        rd, policy = form.text("rd") or "/", await self._rules.policy()

        def again(problem: Problem) -> Answer:
            return self._desk.page("password_signup.html", problem, rd=rd, login_id=login_id, name=name, policy=policy)

        if not is_text(login_id) or not is_password(password) or (name and not is_text(name)):
            return bad_request(facts, again, "The fields login_id and password are needed.")
        lacking = what_lacks(policy, password)
        if lacking:
            return bad_request(facts, again, lacking)
        slowed = self._desk.too_many(facts, again)
        if slowed is not None:
            return slowed
        return await self._desk.begin(facts, calls.sign_up(login_id, password, name), again, _NO_ACCOUNT_MADE, rd)

    async def _replace_page(self, facts: RequestFacts, body: Body) -> Outcome:
        return await self._blank(facts, "password_replace.html")

    async def _replace(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        login_id, old, new = login_id_of(form), form.text("old_password"), form.text("password")
        rd, policy = form.text("rd") or "/", await self._rules.policy()

        def again(problem: Problem) -> Answer:
            return self._desk.page("password_replace.html", problem, rd=rd, login_id=login_id, policy=policy)

        if not is_text(login_id) or not is_password(old) or not is_password(new):
            return bad_request(facts, again, "The fields login_id, old_password and password are needed.")
        lacking = what_lacks(policy, new)
        if lacking:
            return bad_request(facts, again, lacking)
        slowed = self._desk.too_many(facts, again)
        if slowed is not None:
            return slowed
        return await self._desk.begin(facts, calls.replace(login_id, old, new), again, _WRONG_OLD, rd)

    async def _update_page(self, facts: RequestFacts, body: Body) -> Outcome:
        here = await self._desk.signed_in(facts)
        if isinstance(here, Outcome):
            return here
        return await self._blank(facts, "password_update.html")

    async def _update(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        here = await self._desk.signed_in(facts)
        if isinstance(here, Outcome):
            return here
        new, policy = form.text("password"), await self._rules.policy()

        def again(problem: Problem) -> Answer:
            return self._desk.page("password_update.html", problem, rd="/", policy=policy)

        if not is_password(new):
            return bad_request(facts, again, "The field password is needed.")
        lacking = what_lacks(policy, new)
        if lacking:
            return bad_request(facts, again, lacking)
        slowed = self._desk.too_many(facts, again)
        if slowed is not None:
            return slowed
        refused = await self._rules.set(facts, new, here.refresh_raw, again)
        if refused is not None:
            return refused
        cookies, written = await here.cookies()
        if wants_page(facts):
            return Outcome(self._desk.page("password_changed.html"), cookies, written, here.subject)
        return Outcome(Answer(204, (b"Cache-Control: no-store",)), cookies, written, here.subject)

    # --- policy -----------------------------------------------------------------------------------------------------

    async def _policy(self, facts: RequestFacts, body: Body) -> Outcome:
        policy = await self._rules.policy()
        if policy is None:
            return Outcome(Refuse(Reason.IDENTITY_PROVIDER_UNAVAILABLE, retry_after_s=1))
        told = {
            "min_length": policy.min_length,
            "lowercase": policy.lowercase,
            "uppercase": policy.uppercase,
            "number": policy.number,
            "non_alphanumeric": policy.other,
        }
        return Outcome(as_json(200, told))

    async def _blank(self, facts: RequestFacts, template: str, *, with_policy: bool = True) -> Outcome:
        query = read_query(facts)
        if isinstance(query, Refuse):
            return Outcome(query)
        policy = await self._rules.policy() if with_policy else None
        return Outcome(self._desk.page(template, rd=self._desk.back(query.text("rd") or "/"), policy=policy))


def login_id_of(form: Form) -> str:
    return form.text("login_id") or form.text("loginId")
