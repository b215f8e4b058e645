"""Sign-ins that end where they began: which signs tell which cause. With a browser: tests/real/test_turns.py."""

import json
from urllib.parse import quote

import pytest

from gateway.core.model import CookieRules
from gateway.doors.auth import turns
from gateway.doors.auth.outcome import Form
from gateway.doors.auth.turns import Seen, Way
from tests.conftest import House, OpenHouse, Reply, cookie_header, reason_of, set_cookies

GOING = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
POSTED = GOING | {"Origin": "http://app.example.com"}
PROBE = "gateway-journey-turns"


async def page(house: House, path: str, cookies: dict[str, str] | None = None, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await house.get(path, headers=GOING | named | cookie_header(cookies or {}))


async def posted(house: House, rd: str) -> Reply:
    fields = {"login_id": "bob@example.com", "password": "bob-demo-password", "rd": rd}
    return await house.send("POST", "/.auth/password/signin", data=fields, headers=POSTED)


# --- signing in from the sign-in page ---------------------------------------------------------------------------------


async def test_whoever_signs_in_from_the_sign_in_page_comes_by_it_and_goes_on(house: House) -> None:
    begun = await page(house, "/.auth/login?rd=/deep%3Fx%3D1")
    signed_in = await posted(house, "/.auth/login?rd=/deep%3Fx%3D1&turn=1")
    on = await page(house, signed_in.headers["Location"], set_cookies(signed_in) | set_cookies(begun))

    assert 'value="/.auth/login?rd=/deep%3Fx%3D1&amp;turn=1"' in begun.text
    assert (signed_in.status, signed_in.headers["Location"]) == (303, "/.auth/login?rd=/deep%3Fx%3D1&turn=1")
    assert (on.status, on.headers["Location"]) == (303, "/deep?x=1")


async def test_the_first_time_around_is_told_above_the_form_and_the_second_ends(house: House) -> None:
    once = await page(house, "/.auth/login?rd=/deep&turn=1")
    twice = await page(house, "/.auth/login?rd=/deep&turn=2")

    assert (once.status, twice.status) == (400, 400)
    assert "You have just signed in, and no session came back." in once.text
    assert 'value="/.auth/login?rd=/deep&amp;turn=2"' in once.text
    assert "session_not_kept" in twice.text
    assert "The browser gave no cookie back." in twice.text
    assert "<form" not in twice.text


async def test_going_back_to_all_methods_is_no_turn(built: OpenHouse) -> None:
    async with built(top="login: {methods: [password, otp]}") as house:
        first = await page(house, "/.auth/login?rd=/deep")
        (link,) = [part.partition('"')[0] for part in first.text.split('href="')[1:] if "otp/send" in part]
        other = await page(house, link)
        (back,) = [part.partition('"')[0] for part in other.text.split('href="')[1:] if part.startswith("/.auth/login")]
        again = await page(house, back)

        assert again.status == 200
        assert 'value="/.auth/login?rd=/deep&amp;turn=1"' in again.text


async def test_a_program_is_told_the_reason(house: House) -> None:
    reply = await house.get("/.auth/login?rd=/deep&turn=2")

    assert reason_of(reply) == "session_not_kept"
    assert "The browser gave no cookie back." in json.loads(reply.body)["detail"]


async def test_descope_away_is_no_circle(house: House) -> None:
    house.emulator.fault("refresh", status=500, times=None)
    cookies = house.cookies("bob@example.com")
    reply = await page(house, "/.auth/login?rd=/deep&turn=2", {"DSR": cookies["DSR"]})

    assert (reply.status, "no session came back" in reply.text) == (200, False)


@pytest.mark.parametrize(
    ("rd", "expected"),
    [
        pytest.param("/deep?x=1", Way("/deep?x=1"), id="a plain way"),
        pytest.param("/.auth/login?rd=/deep&turn=1", Way("/deep"), id="by the sign-in page"),
        pytest.param("/.auth/login?rd=/deep&turn=2", Way("/deep", 1), id="by the sign-in page once more"),
        pytest.param(
            f"/.auth/login?rd={quote('/.auth/login?rd=/deep&turn=1')}&turn=2", Way("/deep", 1), id="by it twice"
        ),
        pytest.param("/.auth/login", Way("/"), id="to the sign-in page itself"),
        pytest.param("/.auth/login?rd=/deep&turn=99999", Way("/deep"), id="a turn that nobody counted"),
        pytest.param("/.auth/login?" + "&".join(f"a{n}=1" for n in range(40)), Way("/"), id="too many fields"),
        pytest.param("/.auth/login?rd=" * 9 + "/deep", Way("/"), id="by it without an end"),
    ],
)
def test_a_way_by_the_sign_in_page_is_followed_to_its_end(rd: str, expected: Way) -> None:
    assert turns.way_of(Form({"rd": rd}), lambda wanted: wanted) == expected


async def test_t09_coming_by_leads_to_no_other_site(house: House) -> None:
    cookies = house.cookies("bob@example.com")
    inner = quote("/.auth/login?rd=//evil.example&turn=1")

    for rd in ("//evil.example&turn=1", inner):
        reply = await page(house, f"/.auth/login?rd={rd}", cookies)
        assert (reply.status, reply.headers["Location"]) == (303, "/")


# --- why no session came back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "host", "rd", "probe", "told"),
    [
        pytest.param("{secure: false}", "app.example.com", "/x", False, "gave no cookie back", id="no cookie at all"),
        pytest.param("{secure: true}", "app.example.com", "/x", False, "Open it over https", id="secure over http"),
        pytest.param(
            "{secure: false, domain: example.com}", "10.0.0.1", "/x", True, "is for example.com", id="another domain"
        ),
        pytest.param(
            "{secure: false, domain: example.com}",
            "app.example.com",
            "/x",
            True,
            "They are for example.com",
            id="a domain that browsers refuse",
        ),
        pytest.param("{secure: false, path: /app}", "app.example.com", "/x", True, "below /app", id="another path"),
        pytest.param(
            "{secure: false}", "app.example.com", "/x", True, "Delete this site&#39;s cookies", id="only the session"
        ),
    ],
)
async def test_what_came_back_tells_why_no_session_did(
    built: OpenHouse, rules: str, host: str, rd: str, probe: bool, told: str
) -> None:
    async with built(cookies=rules) as house:
        first = await page(house, f"/.auth/login?rd={rd}", Host=host)
        reply = await page(house, f"/.auth/login?rd={rd}&turn=1", set_cookies(first) if probe else {}, Host=host)

        assert reply.status == 400
        assert told in reply.text


async def test_a_session_that_takes_many_bytes_is_told_with_their_number(house: House) -> None:
    bob = house.emulator.directory.person_by_login("bob@example.com")
    assert bob is not None
    bob.claims["large"] = "b" * 5000
    begun = await posted(house, "/.auth/login?rd=/deep&turn=1")
    probe = {PROBE: set_cookies(begun)[PROBE]}
    reply = await page(house, "/.auth/login?rd=/deep&turn=1", probe)

    assert int(probe[PROBE].split("-")[3]) > 5000
    assert f"They take {probe[PROBE].split('-')[3]} bytes" in reply.text


@pytest.mark.parametrize(
    "offset_s", [pytest.param(-3600, id="a slow clock"), pytest.param(40 * 86400, id="a fast clock")]
)
async def test_a_clock_that_is_off_is_told(house: House, offset_s: float) -> None:
    signed_in = await posted(house, "/.auth/login?rd=/deep&turn=1")
    house.clock.offset_s = offset_s
    reply = await page(house, "/.auth/login?rd=/deep&turn=1", set_cookies(signed_in))

    assert (reply.status, "a clock is off" in reply.text) == (400, True)


async def test_cookies_that_contradict_each_other_are_told(house: House) -> None:
    ada, bob = house.cookies("ada@example.com")["DS"], house.cookies("bob@example.com")["DS"]
    reply = await house.get("/.auth/login?rd=/x&turn=1", headers=GOING | {"Cookie": f"DS={ada}; DS={bob}"})

    assert (reply.status, "contradict each other" in reply.text) == (400, True)


async def test_a_session_that_is_not_accepted_is_told_with_its_reason(house: House) -> None:
    cookies = house.cookies("bob@example.com")
    await house.send("POST", "/.auth/logout", headers=POSTED | cookie_header(cookies))
    reply = await page(house, "/.auth/login?rd=/x&turn=1", cookies)

    assert (reply.status, "The session was signed out." in reply.text) == (400, True)


async def test_a_session_too_large_for_any_cookie_is_told_at_sign_in(house: House) -> None:
    bob = house.emulator.directory.person_by_login("bob@example.com")
    assert bob is not None
    bob.claims["large"] = "b" * 11_200  # 15.7 KiB as a token: readable, but for four cookies too much
    as_page = await posted(house, "/deep")
    fields = {"login_id": "bob@example.com", "password": "bob-demo-password"}
    as_json = await house.send("POST", "/.auth/password/signin", json=fields)

    assert (as_page.status, as_page.media_type) == (400, "text/html")
    assert "The session is too large for cookies." in as_page.text
    assert reason_of(as_json) == "session_not_kept"


# --- a page that sends back -------------------------------------------------------------------------------------------


async def around(house: House, jar: dict[str, str], place: str = "/jobs/x") -> Reply:
    """Once by the sign-in page, as a browser that keeps its cookies."""
    reply = await page(house, f"/.auth/login?rd={place}", jar)
    jar |= set_cookies(reply)
    return reply


async def test_a_page_that_sends_back_whoever_is_signed_in_is_noticed_on_the_third_turn(house: House) -> None:
    jar = house.cookies("bob@example.com")
    replies = [await around(house, jar) for _ in range(3)]

    assert [reply.status for reply in replies] == [303, 303, 400]
    assert "does not take your session" in replies[2].text
    assert jar[PROBE] == ""
    assert (await around(house, jar)).status == 303


async def test_whoever_opens_the_sign_in_page_now_and_then_is_in_no_circle(house: House) -> None:
    jar = house.cookies("bob@example.com")
    statuses = []
    for _ in range(4):
        statuses.append((await around(house, jar)).status)
        house.put_forward(6)

    assert statuses == [303] * 4


async def test_tabs_that_go_to_different_places_are_in_no_circle(house: House) -> None:
    jar = house.cookies("bob@example.com")

    assert [(await around(house, jar, f"/tab/{number}")).status for number in range(6)] == [303] * 6


async def test_a_page_outside_the_path_of_the_cookies_is_told(built: OpenHouse) -> None:
    async with built(cookies="{secure: false, path: /.auth}") as house:
        jar = house.cookies("bob@example.com")
        replies = [await around(house, jar, "/x") for _ in range(3)]

        assert "below /.auth" in replies[2].text


async def test_where_only_other_pages_get_the_session_the_sign_in_page_judges_nothing(built: OpenHouse) -> None:
    async with built(cookies="{secure: false, path: /app}") as house:
        inside = await page(house, "/.auth/login?rd=/app/x&turn=1")
        outside = await page(house, "/.auth/login?rd=/apple&turn=1")

        assert (inside.status, inside.headers["Location"]) == (303, "/app/x")
        assert outside.status == 400


# --- the counting cookie ----------------------------------------------------------------------------------------------


async def test_t10_the_counting_cookie_is_host_bound_and_stays_here(built: OpenHouse) -> None:
    async with built(cookies="{secure: true}") as house:
        reply = await page(house, "/.auth/login?rd=/x")
        (line,) = [one for one in reply.headers.getall("Set-Cookie") if PROBE in one]
        await house.get("/public/x", headers={"Cookie": f"{line.partition(';')[0]}; other=1"})

        assert line.startswith(f"__Host-{PROBE}=0-")
        assert line.endswith("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure")
        assert house.upstream.last.value("cookie") == "other=1"


@pytest.mark.parametrize("value", ["", "x", "1-2", "1-2-3-x", "-1-2-3-4", "²-1-a-1", "9" * 13 + "-1-a-1", "1-1-a-1-1"])
async def test_a_counting_cookie_that_nobody_wrote_counts_nothing(house: House, value: str) -> None:
    jar = house.cookies("bob@example.com") | {PROBE: value}

    assert (await around(house, jar)).status == 303


@pytest.mark.parametrize(
    ("path", "wanted", "reaches"),
    [
        ("/", "/x", True),
        ("/app", "/app", True),
        ("/app", "/app/x", True),
        ("/app", "/app?x=/", True),
        ("/app/", "/app/x", True),
        ("/app", "/apple", False),
        ("/app", "/", False),
    ],
)
def test_a_cookie_reaches_what_lies_below_its_path(path: str, wanted: str, reaches: bool) -> None:
    assert turns.reaches(CookieRules(path=path), wanted) is reaches


def test_what_is_counted_is_read_back() -> None:
    line = turns.cookie("/x", Seen(2, 77), 1000.0, CookieRules(secure=False)).decode()

    assert line.startswith(f"{PROBE}=2-1000-")
    assert line.partition(";")[0].endswith("-77")


# --- strict cookies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("same_site", "site", "goes_by_itself"),
    [
        ("strict", "cross-site", True),
        ("strict", "same-site", True),
        ("strict", "same-origin", False),
        ("lax", "cross-site", False),
    ],
)
async def test_strict_cookies_are_asked_for_once_more_from_here(
    built: OpenHouse, same_site: str, site: str, goes_by_itself: bool
) -> None:
    async with built(cookies=f"{{secure: false, same_site: {same_site}}}") as house:
        reply = await page(house, "/.auth/login?rd=/deep%3Fx", Sec_Fetch_Site=site)

        goes = '<meta http-equiv="refresh" content="0; url=/.auth/login?rd=/deep%3Fx&amp;turn=0">'
        assert reply.status == 200
        assert (goes in reply.text) is goes_by_itself
        assert ("<form" in reply.text) is not goes_by_itself
