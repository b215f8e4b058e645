"""A forgotten password: a reset goes on as the project says, by a link, a code, or a link chosen by its number.

All of them prove who asks, as any sign-in does, and the new password follows at once.
"""

from gateway.core.model import Refuse, RequestFacts
from gateway.core.signin import Channel
from gateway.doors.answers import Answer, as_json
from gateway.doors.auth import journeys
from gateway.doors.auth.desk import Again, Desk, Problem, bad_request
from gateway.doors.auth.outcome import Body, Endpoints, Form, Outcome, read_form, read_query, wants_page
from gateway.doors.auth.password import login_id_of
from gateway.doors.auth.password_rules import PasswordRules, is_password, what_lacks
from gateway.idp_call import IdpRefusal, is_text
from gateway.idp_methods import enchanted_link, magic_link, otp
from gateway.idp_methods import password as calls
from gateway.idp_methods.password import PasswordPolicy, ResetSent

_NO_PROOF = "The link or the code is wrong, was used already, or has run out. Ask for a new one."
_NOT_YET = "The link has not been opened yet."
_PURPOSE = "reset"


class PasswordReset:
    def __init__(self, desk: Desk, rules: PasswordRules) -> None:
        self._desk = desk
        self._rules = rules
        # What the project's resets last went on with; who is unknown to Descope gets the same page as everybody.
        self._method = "magiclink"
        self.endpoints: Endpoints = {
            "password/reset": {"GET": self._reset_page, "POST": self._reset},
            "password/new": {"GET": self._new_page, "POST": self._new},
        }

    async def _reset_page(self, facts: RequestFacts, body: Body) -> Outcome:
        query = read_query(facts)
        if isinstance(query, Refuse):
            return Outcome(query)
        return Outcome(self._desk.page("password_reset.html", rd=self._desk.back(query.text("rd") or "/")))

    async def _reset(self, facts: RequestFacts, body: Body) -> Outcome:
        """Whoever is unknown to Descope gets the answer that everybody gets (T-19)."""
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        login_id, rd = login_id_of(form), form.text("rd") or "/"

        def again(problem: Problem) -> Answer:
            return self._desk.page("password_reset.html", problem, rd=rd, login_id=login_id)

        if not is_text(login_id):
            return bad_request(facts, again, "The field login_id is needed.")
        slowed = self._desk.too_many(facts, again)
        if slowed is not None:
            return slowed
        landing = f"{self._desk.public_url(facts)}/.auth/password/new"
        call = calls.send_reset(login_id, landing, self._desk.login.template)
        sent = await self._desk.ask_or_refusal(facts, call, again)
        if isinstance(sent, Outcome):
            return sent
        if isinstance(sent, IdpRefusal):
            sent = ResetSent(self._method)
        self._method = sent.method or self._method
        # The cookie is the same size and there for everybody, as is the rest of the answer.
        journey, cookies = journeys.begin(
            facts,
            _PURPOSE,
            rd,
            self._desk.clock.now_s(),
            secure=self._desk.server.cookies.secure,
            extra=sent.pending_ref,
        )
        if not wants_page(facts):
            told = {"reset_method": self._method, "journey": journey.id}
            if sent.link_id:
                told["link_id"] = sent.link_id
            return Outcome(as_json(200, told), cookies)
        page = self._landing(rd, login_id, await self._rules.policy(), journey=journey.id, link_id=sent.link_id)
        return Outcome(page(Problem()), cookies)

    async def _new_page(self, facts: RequestFacts, body: Body) -> Outcome:
        """Where the link leads. The token waits in the form: whoever only looks at links spends none."""
        query = read_query(facts)
        if isinstance(query, Refuse):
            return Outcome(query)
        page = self._landing("/", "", await self._rules.policy(), token=query.text("t"))
        return Outcome(page(Problem()))

    def _landing(
        self,
        rd: str,
        login_id: str,
        policy: PasswordPolicy | None,
        *,
        token: str = "",
        journey: str = "",
        link_id: str = "",
    ) -> Again:
        def page(problem: Problem) -> Answer:
            return self._desk.page(
                "password_new.html",
                problem,
                rd=rd,
                login_id=login_id,
                policy=policy,
                token=token,
                journey=journey,
                link_id=link_id,
                method="link" if token else self._method,
            )

        return page

    async def _new(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        new, policy = form.text("password"), await self._rules.policy()
        again = self._landing(
            form.text("rd") or "/",
            login_id_of(form),
            policy,
            token=form.text("t"),
            journey=form.text("journey"),
            link_id=form.text("link_id"),
        )
        if not is_password(new):
            return bad_request(facts, again, "The field password is needed.")
        lacking = what_lacks(policy, new)
        if lacking:
            return bad_request(facts, again, lacking)
        slowed = self._desk.too_many(facts, again)
        if slowed is not None:
            return slowed
        return await self._proven_and_set(facts, form, new, again)

    async def _proven_and_set(self, facts: RequestFacts, form: Form, new: str, again: Again) -> Outcome:
        secure = self._desk.server.cookies.secure
        journey = journeys.find(facts, form.text("journey"), _PURPOSE, self._desk.clock.now_s(), secure=secure)
        token, code = form.text("t"), form.text("code").strip()
        wrong = _NO_PROOF
        if token and is_text(token):
            proof = magic_link.verify(token)
        elif code and is_text(code) and is_text(login_id_of(form)):
            proof = otp.verify(login_id_of(form), Channel.EMAIL, code)
        elif journey is not None and journey.extra:
            proof, wrong = enchanted_link.poll(journey.extra), _NOT_YET
        else:
            return bad_request(facts, again, "The link's token, or login_id and code, are needed.")
        answer = await self._desk.begin_or_refusal(facts, proof, again)
        if isinstance(answer, Outcome):
            return answer
        if isinstance(answer, IdpRefusal) and token:
            return await self._link_by_number(facts, token, answer, again)
        if isinstance(answer, IdpRefusal):
            return self._desk.refused(facts, answer, again, wrong)
        refused = await self._rules.set(facts, new, answer.pair.refresh, again)
        ends = (journeys.end(journey, secure=secure),) if journey is not None else ()
        if refused is not None and wants_page(facts):
            # The proof is spent, but it was good: another password can be chosen without a new one.
            return self._desk.arrived(facts, answer, "/.auth/password/update", cookies=ends)
        if refused is not None:
            return refused
        return self._desk.arrived(facts, answer, form.text("rd") or "/", cookies=ends)

    async def _link_by_number(self, facts: RequestFacts, token: str, refusal: IdpRefusal, again: Again) -> Outcome:
        """The link may be one that is chosen by its number: then the page that waits goes on, and not this one."""
        opened = await self._desk.ask_or_refusal(facts, enchanted_link.verify(token), again)
        if isinstance(opened, Outcome):
            return opened
        if isinstance(opened, IdpRefusal):
            return self._desk.refused(facts, refusal, again, _NO_PROOF)
        if wants_page(facts):
            return Outcome(self._desk.page("go_back.html"))
        return Outcome(Answer(204, (b"Cache-Control: no-store",)))
