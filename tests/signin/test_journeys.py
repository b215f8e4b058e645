"""State cookies of sign-ins that leave the site (T-10)."""

import pytest

from gateway.core.facts import gather, read_block
from gateway.core.model import HeadLimits, RequestFacts, ServerRules
from gateway.doors.auth import journeys
from gateway.doors.auth.journeys import Journey
from tests.conftest import House

NOW_S = 1_800_000_000.0


def facts_with(*cookies: str) -> RequestFacts:
    raw = ((b"Host", b"app.example.com"), *((b"Cookie", cookie.encode()) for cookie in cookies if cookie))
    found = gather(
        method="GET",
        raw_target=b"/.auth/oauth/callback",
        version=(1, 1),
        block=read_block(raw, HeadLimits()),
        peer="127.0.0.1",
        server=ServerRules(("https://app.example.com",)),
    )
    assert isinstance(found, RequestFacts)
    return found


def begun(*cookies: str, now_s: float = NOW_S, rd: str = "/deep?x=é", extra: str = "") -> tuple[Journey, list[str]]:
    journey, lines = journeys.begin(facts_with(*cookies), "oauth", rd, now_s, secure=True, extra=extra)
    return journey, [line.decode() for line in lines]


def as_sent(line: str) -> str:
    return line.partition(";")[0]


def test_a_journey_is_found_again_by_the_browser_that_began_it() -> None:
    journey, (line,) = begun(extra="pending")

    assert journeys.find(facts_with(as_sent(line)), journey.id, "oauth", NOW_S + 599, secure=True) == journey
    assert (journey.rd, journey.extra) == ("/deep?x=é", "pending")


def test_t10_the_cookie_is_host_bound_short_lived_and_hidden_from_scripts() -> None:
    journey, (line,) = begun()

    assert line.startswith(f"__Host-gateway-journey-{journey.id}=")
    assert line.endswith("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure")


@pytest.mark.parametrize(
    ("journey_id", "purpose", "later_s"),
    [
        pytest.param("another", "oauth", 1, id="a foreign id"),
        pytest.param("", "oauth", 1, id="none"),
        pytest.param(None, "sso", 1, id="for something else"),
        pytest.param(None, "oauth", 601, id="too long ago"),
        pytest.param(None, "oauth", -60, id="from the future"),
    ],
)
def test_t10_another_journey_is_none_of_this_browsers(journey_id: str | None, purpose: str, later_s: int) -> None:
    journey, (line,) = begun()
    wanted = journey.id if journey_id is None else journey_id

    assert journeys.find(facts_with(as_sent(line)), wanted, purpose, NOW_S + later_s, secure=True) is None


def test_t10_without_the_cookie_or_with_two_of_one_name_there_is_no_journey() -> None:
    journey, (line,) = begun()

    assert journeys.find(facts_with(), journey.id, "oauth", NOW_S, secure=True) is None
    assert (
        journeys.find(facts_with(f"{as_sent(line)}; {as_sent(line)}"), journey.id, "oauth", NOW_S, secure=True) is None
    )


@pytest.mark.parametrize(
    "value", ["", "oauth", "oauth.x.Lw.", "oauth.1.!.", "oauth.1.Lw.Lw.Lw", "oauth.9999999999999.Lw."]
)
def test_a_cookie_that_is_none_of_ours_is_no_journey(value: str) -> None:
    sent = facts_with(f"__Host-gateway-journey-abc={value}")

    assert journeys.find(sent, "abc", "oauth", NOW_S, secure=True) is None


def test_journeys_are_bounded_in_number_and_the_oldest_goes() -> None:
    cookies: list[str] = []
    first = ""
    for n in range(journeys.AT_MOST):
        journey, lines = begun("; ".join(cookies), now_s=NOW_S + n)
        first = first or journey.id
        assert len(lines) == 1
        cookies.append(as_sent(lines[0]))

    _, lines = begun("; ".join(cookies), now_s=NOW_S + 50)

    assert len(lines) == 2
    assert lines[1].startswith(f"__Host-gateway-journey-{first}=; Path=/; Max-Age=0")


def test_a_way_back_that_no_cookie_can_hold_is_the_front_page() -> None:
    assert begun(rd="/" + "x" * 2000)[0].rd == "/"


# --- upstream ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["__Host-gateway-journey-abc", "gateway-journey-abc"])
@pytest.mark.parametrize(
    "spelling", ["{}=x", " {} =x", "={}=x", 'a="{}=x"'], ids=["plain", "blanks", "no name", "quoted"]
)
async def test_t10_cookies_of_sign_ins_under_way_stay_here(house: House, name: str, spelling: str) -> None:
    await house.get("/public/x", headers={"Cookie": f"mine=1; {spelling.format(name)}; yours=2"})

    assert house.upstream.last.value("cookie") == "mine=1; yours=2"


@pytest.mark.parametrize("name", ["__Host-gateway-journey-abc", "gateway-journey-abc", "Gateway-Journey-abc"])
async def test_t10_an_upstream_plants_no_sign_in_under_way(house: House, name: str) -> None:
    house.upstream.reply = f"HTTP/1.1 200 OK\r\nSet-Cookie: {name}=x; Path=/\r\nContent-Length: 0\r\n\r\n".encode()
    reply = await house.get("/public/x")

    assert "Set-Cookie" not in reply.headers
