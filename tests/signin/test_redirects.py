"""OAuth and SSO at the gateway (T-10): the browser leaves, and comes back with a code."""

import json

import pytest

from gateway.doors.auth.redirects import tenant_for
from tests.conftest import OpenHouse, Reply, reason_of
from tests.signin.asking import Browser, consent, left, parameter

OAUTH = "login: {methods: [oauth], oauth: {providers: [google, github]}}"
BUTTONS = "login: {methods: [sso], sso: {tenants: [globex]}}"
SSO = "login: {methods: [sso], sso: {tenants: [acme], domains: {acme.example.com: acme}}}"


# --- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("top", "start", "email"),
    [
        pytest.param(OAUTH, "/.auth/oauth/start?provider=github&rd=/deep?x=1", "bob@example.com", id="oauth"),
        pytest.param(SSO, "/.auth/sso/start?tenant=acme&rd=/deep?x=1", "eve@acme.example.com", id="sso by tenant"),
        pytest.param(
            SSO, "/.auth/sso/start?email=eve@ACME.example.com&rd=/deep?x=1", "eve@acme.example.com", id="sso by e-mail"
        ),
    ],
)
async def test_the_browser_comes_back_signed_in_where_it_was_going(
    built: OpenHouse, top: str, start: str, email: str
) -> None:
    async with built(top=top) as house:
        browser = Browser(house)
        arrived = await browser.get(await consent(house, await left(browser, start), email=email))

        assert (arrived.status, arrived.headers["Location"]) == (303, "/deep?x=1")
        assert browser.journeys == []
        assert (await browser.get("/deep?x=1")).status == 200


async def test_the_form_for_an_address_leaves_by_a_page_of_its_own(built: OpenHouse) -> None:
    async with built(top=SSO) as house:
        browser = Browser(house)
        page = await browser.post("sso/start", email="eve@acme.example.com", rd="/deep")
        place = page.text.partition('content="0; url=')[2].partition('"')[0].replace("&amp;", "&")
        arrived = await browser.get(await consent(house, place, email="eve@acme.example.com"))

        assert page.status == 200
        assert (arrived.status, arrived.headers["Location"]) == (303, "/deep")


async def test_a_program_is_told_the_address(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        reply = await house.get("/.auth/oauth/start?provider=google")

        assert reply.status == 200
        assert "/_emulator/provider?state=" in json.loads(reply.body)["url"]


async def test_two_tabs_signing_in_at_once_both_arrive(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        one = await left(browser, "/.auth/oauth/start?provider=google&rd=/one")
        two = await left(browser, "/.auth/oauth/start?provider=github&rd=/two")
        arrived = [await browser.get(await consent(house, place, email="bob@example.com")) for place in (two, one)]

        assert [reply.headers["Location"] for reply in arrived] == ["/two", "/one"]
        assert browser.journeys == []


# --- T-10 -------------------------------------------------------------------------------------------------------------


def refused(reply: Reply) -> None:
    assert (reply.status, "was not started in this browser" in reply.text) == (400, True)
    assert not any(name in reply.headers.get("Set-Cookie", "") for name in ("DS=ey", "DSR=ey"))


async def test_t10_a_callback_in_another_browser_is_refused(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        back = await consent(house, await left(Browser(house)), email="ada@example.com")

        refused(await Browser(house).get(back))
        assert house.emulator.count("oauth_exchange") == 0


async def test_t10_a_code_of_somebody_else_needs_a_journey_of_this_browser(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        victim, attacker = Browser(house), Browser(house)
        await left(victim)
        back = await consent(house, await left(attacker), email="ada@example.com")

        refused(await victim.get(back))


@pytest.mark.parametrize("state", ["", "journey=", "journey=nonsense", "journey=%0d%0a"])
async def test_t10_a_callback_without_its_state_is_refused(built: OpenHouse, state: str) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        back = await consent(house, await left(browser), email="ada@example.com")

        refused(await browser.get(f"/.auth/oauth/callback?{state}&code={parameter(back, 'code')}"))


async def test_t10_a_callback_after_ten_minutes_is_refused(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        back = await consent(house, await left(browser), email="ada@example.com")
        house.clock.offset_s += 601

        refused(await browser.get(back))


async def test_t10_a_replayed_callback_signs_nobody_in(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        kept = Browser(house)
        place = await left(browser)
        kept.cookies = dict(browser.cookies)
        back = await consent(house, place, email="ada@example.com")
        await browser.get(back)
        replayed = await kept.get(back)

        refused(replayed)
        assert house.emulator.count("oauth_exchange") == 1


async def test_t10_a_journey_of_one_method_is_none_of_another(built: OpenHouse) -> None:
    both = "login: {methods: [oauth, sso], oauth: {providers: [google]}, sso: {tenants: [acme]}}"
    async with built(top=both) as house:
        browser = Browser(house)
        back = await consent(house, await left(browser), email="ada@example.com")

        refused(await browser.get(back.replace("/oauth/", "/sso/")))


async def test_a_program_is_told_that_its_state_is_none(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        reply = await house.get("/.auth/oauth/callback?code=x&journey=y")

        assert reason_of(reply) == "login_state_invalid"


# --- refused ----------------------------------------------------------------------------------------------------------


async def test_whoever_refuses_there_may_start_again_here_and_nothing_is_echoed(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        back = await consent(house, await left(browser), decision="refuse")
        page = await browser.get(back + "&error_description=<b>call+us</b>")

        assert (page.status, "was not completed there" in page.text) == (401, True)
        assert "call us" not in page.text
        assert "provider=google&amp;rd=/deep%3Fx%3D1" in page.text
        assert browser.journeys == []


@pytest.mark.parametrize(
    ("top", "path"),
    [
        pytest.param(OAUTH, "/.auth/oauth/start?provider=facebook", id="a provider that is not offered"),
        pytest.param(SSO, "/.auth/sso/start?tenant=globex", id="a tenant that is not offered"),
        pytest.param(SSO, "/.auth/sso/start?email=eve@elsewhere.example", id="a domain without"),
        pytest.param(BUTTONS, "/.auth/sso/start?email=eve@acme.example.com", id="an address where there are buttons"),
        pytest.param(SSO, "/.auth/sso/start?email=%01x", id="no address"),
    ],
)
async def test_what_is_not_offered_is_told_and_descope_not_asked(built: OpenHouse, top: str, path: str) -> None:
    async with built(top=top) as house:
        page = await Browser(house).get(path)

        assert page.status == 400
        assert (house.emulator.count("oauth_start"), house.emulator.count("sso_start")) == (0, 0)


async def test_t23_a_picture_on_another_site_starts_nothing(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        headers = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"}
        reply = await house.get("/.auth/oauth/start?provider=google", headers=headers)

        assert reason_of(reply) == "cross_site"
        assert house.emulator.count("oauth_start") == 0


async def test_t09_the_way_back_is_on_this_site(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        place = await left(browser, "/.auth/oauth/start?provider=google&rd=//evil.example")
        arrived = await browser.get(await consent(house, place, email="bob@example.com"))

        assert arrived.headers["Location"] == "/"


@pytest.mark.parametrize(
    ("email", "domains", "tenant"),
    [
        ("a@Example.COM", {"example.com": "T1"}, "T1"),
        ("a@sub.example.com", {"example.com": "T1"}, ""),
        ("a@b@example.com", {"example.com": "T1"}, "T1"),
        ("a@example.com", {}, "example.com"),
        ("a@exa mple", {}, ""),
    ],
)
def test_a_tenant_is_found_by_the_whole_domain(email: str, domains: dict[str, str], tenant: str) -> None:
    assert tenant_for(email, domains) == tenant
