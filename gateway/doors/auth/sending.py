"""What the methods that send a message share: who it goes to and how, told alike whether or not anybody gets it."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.model import Refuse, RequestFacts
from gateway.core.signin import Channel
from gateway.doors.answers import Answer
from gateway.doors.auth.desk import Again, Desk, Problem, bad_request
from gateway.doors.auth.outcome import Body, Outcome, read_form, read_query
from gateway.idp_call import is_text

WRONG_ADDRESS = "Write an e-mail address or a phone number."


@dataclass(frozen=True, slots=True)
class Start:
    """Somebody who wants a message. again: the page that they came from."""

    login_id: str
    channel: Channel
    rd: str
    again: Again


async def blank(desk: Desk, facts: RequestFacts, template: str) -> Outcome:
    """The page to ask for a message."""
    query = read_query(facts)
    if isinstance(query, Refuse):
        return Outcome(query)
    return Outcome(desk.page(template, rd=desk.back(query.text("rd") or "/")))


async def read_start(
    desk: Desk, facts: RequestFacts, body: Body, template: str, channels: Sequence[Channel]
) -> Start | Outcome:
    """Who asks for a message and how it shall travel; the outcome where that is not clear or too often."""
    form = await read_form(facts, body)
    if isinstance(form, Refuse):
        return Outcome(form)
    login_id, rd = (form.text("login_id") or form.text("loginId")).strip(), form.text("rd") or "/"

    def again(problem: Problem) -> Answer:
        return desk.page(template, problem, rd=rd, login_id=login_id)

    wanted = form.text("channel") or channels[0]
    if not is_text(login_id):
        return bad_request(facts, again, WRONG_ADDRESS)
    if wanted not in channels:
        return bad_request(facts, again, "The channel is none of those offered.")
    return desk.too_many(facts, again) or Start(login_id, Channel(wanted), rd, again)


def masked(login_id: str) -> str:
    """What was typed, starred but for its first letters or last digits: it tells nobody what Descope knows."""
    local, at, domain = login_id.partition("@")
    if at:
        name, dot, end = domain.rpartition(".")
        return f"{_starred(local)}@{_starred(name)}{dot}{end}"
    return "*" * max(len(login_id) - 2, 0) + login_id[-2:] if login_id[-2:].isdigit() else _starred(login_id)


def _starred(word: str) -> str:
    return word[:1] + "*" * (len(word) - 1)
