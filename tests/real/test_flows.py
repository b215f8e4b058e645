"""The unmodified `<descope-wc>` and the unmodified browser SDK at the gateway, in Chromium."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, Request
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from gateway.doors.auth.component import component_files
from tests.conftest import PROJECT, House, Seen, read_body
from tests.real.browser import Complaints, Visits, findings, without
from tests.real.conftest import OpenFront

SDK = Path(__file__).parent / "node" / "node_modules" / "@descope" / "web-js-sdk" / "dist" / "index.umd.js"
FLOW = "login: {methods: [flow]}"
ADA = "ada@example.com"
# The parts of a JWT, as it would lie about.
JWT = "eyJ"


@pytest.fixture(autouse=True)
def component_is_installed() -> None:
    if not component_files().are_here:
        without("the flow component is not installed; run make component")


async def ask_for_code(page: Page, login_id: str = ADA) -> None:
    """Fill in the first screen and press its button."""
    await press(page, "E-mail", login_id, "continue", "start")
    await page.get_by_label("Code").wait_for()


async def send_code(page: Page, code: str) -> None:
    """The same on the second screen."""
    await press(page, "Code", code, "verify", "next")


async def press(page: Page, label: str, text: str, button: str, call: str) -> None:
    """Fill in a field and press a button, as often as it takes: the component puts its fields and buttons back to what
    they were when it is done with the answer before, and what a person does in that moment it does not hear."""
    heard = asyncio.Event()

    def hear(request: Request) -> None:
        if request.url.endswith(f"/v1/flow/{call}"):
            heard.set()

    page.on("request", hear)
    for _ in range(8):
        with contextlib.suppress(PlaywrightTimeoutError):
            await page.get_by_label(label).fill(text, timeout=2_000)
            await page.locator(f"vaadin-button#{button}").click(timeout=2_000)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await heard.wait()
            return
    raise AssertionError(f"the button {button} does nothing")


async def kept(page: Page) -> str:
    """All that scripts of the site can read in this browser."""
    return str(await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"))


# --- the component ----------------------------------------------------------------------------------------------------


async def test_a_flow_signs_in_and_leads_to_the_deep_link_and_leaves_no_token_to_scripts(
    open_front: OpenFront, page: Page, person: BrowserContext
) -> None:
    async with open_front(top=FLOW) as front:
        asked: list[str] = []

        def hear(request: Request) -> None:
            asked.append(request.url)

        page.on("request", hear)
        await page.goto(f"{front.url}/deep/link?q=a%20b")
        await ask_for_code(page)
        await send_code(page, front.emulator.inbox.last(ADA).code)
        await page.wait_for_url(f"{front.url}/deep/link?q=a%20b")

        assert "/deep/link?q=a%20b" in [seen.path for seen in front.upstream.seen]
        assert front.upstream.last.value("x-auth-email") == ADA
        # Whatever was asked was asked of this site.
        assert {url.split("/")[2] for url in asked} == {str(front.url).split("/")[2].rstrip("/")}
        found = await kept(page)
        assert JWT not in found
        assert "Nonce" not in found
        cookies = {cookie["name"]: cookie for cookie in await person.cookies()}
        assert cookies.keys() >= {"DS", "DSR"}
        assert all(cookie["httpOnly"] for cookie in cookies.values())


async def test_a_wrong_code_is_shown_and_the_right_one_still_counts(
    open_front: OpenFront, page: Page, complaints: Complaints
) -> None:
    async with open_front(top=FLOW) as front:
        await page.goto(f"{front.url}/deep")
        await ask_for_code(page)
        await send_code(page, "no code")
        await page.get_by_text("The code is wrong").wait_for()
        await send_code(page, front.emulator.inbox.last(ADA).code)
        await page.wait_for_url(f"{front.url}/deep")

        assert [told for told in complaints.told if "E061102" not in told] == []
        complaints.told.clear()


@pytest.mark.parametrize(
    ("happens", "sentence", "code"),
    [
        ("it takes too long", "The sign-in has taken too long.", "E103205"),
        ("it is published anew", "The sign-in has changed meanwhile.", "E102004"),
        ("descope asks for a pause", "Sign-in is busy just now.", "other"),
    ],
)
async def test_an_error_is_shown_and_counted_and_the_flow_can_start_again(
    open_front: OpenFront, page: Page, complaints: Complaints, happens: str, sentence: str, code: str
) -> None:
    async with open_front(top=FLOW) as front:
        await page.goto(f"{front.url}/deep")
        await ask_for_code(page)
        match happens:
            case "it takes too long":
                front.put_forward(601)
            case "it is published anew":
                front.emulator.configure(flow_version=2)
            case _:
                front.emulator.fault("flow_next", status=429, headers={"Retry-After": "2"}, times=1)
        await send_code(page, front.emulator.inbox.last(ADA).code)
        await page.get_by_role("alert").get_by_text(sentence).wait_for()
        front.put_forward(3)
        async with front.http.get(front.admin / "metrics") as scraped:
            assert f'gateway_flow_errors_total{{code="{code}"}} 1.0' in await scraped.text()
        await page.get_by_role("button", name="Start again").click()
        await ask_for_code(page)
        await send_code(page, front.emulator.inbox.last(ADA).code)
        await page.wait_for_url(f"{front.url}/deep")

        complaints.told.clear()  # the component tells of every error on the console


async def test_tokens_that_the_gateway_does_not_take_leave_nobody_signed_in(
    open_front: OpenFront, page: Page, person: BrowserContext
) -> None:
    async with open_front(top=FLOW) as front:
        await page.goto(f"{front.url}/deep")
        await ask_for_code(page)
        await page.route(
            "**/.auth/session",
            lambda route: route.continue_(post_data=json.dumps({"sessionJwt": "a.b.c", "refreshJwt": "a.b.c"})),
        )
        await send_code(page, front.emulator.inbox.last(ADA).code)
        await page.get_by_role("alert").get_by_text("The session was not accepted.").wait_for()

        assert {cookie["name"] for cookie in await person.cookies()}.isdisjoint({"DS", "DSR"})
        assert JWT not in await kept(page)


async def test_a_route_leads_through_its_own_flow(open_front: OpenFront, page: Page, complaints: Complaints) -> None:
    routes = """
routes:
  - {id: strict, match: {path: "/strict/**"}, flow: sign-in, upstream: legacy}
  - {id: rest, match: {path: "/**"}, upstream: legacy}
"""
    async with open_front(top="login: {methods: [password, flow]}", routes=routes) as front:
        await page.goto(f"{front.url}/strict/x")
        # Nobody unknown comes in by this flow, and nobody is told so.
        await ask_for_code(page, "nobody@example.com")
        await send_code(page, "000000")
        await page.get_by_text("The code is wrong").wait_for()
        complaints.told.clear()
        await page.goto(f"{front.url}/strict/x")
        await ask_for_code(page)
        await send_code(page, front.emulator.inbox.last(ADA).code)
        await page.wait_for_url(f"{front.url}/strict/x")

        assert {seen.operation for seen in front.emulator.requests} >= {"flow_start", "flow_next", "flow_content"}


async def test_two_tabs_that_run_a_flow_at_once_both_arrive(
    open_front: OpenFront, page: Page, person: BrowserContext
) -> None:
    async with open_front(top=FLOW) as front:
        front.emulator.configure(send_wait_s=0)
        other = await person.new_page()
        for tab, place in ((page, "one"), (other, "two")):
            await tab.goto(f"{front.url}/{place}")
        await ask_for_code(page)
        first = front.emulator.inbox.last(ADA).code
        await ask_for_code(other)
        second = front.emulator.inbox.last(ADA).code
        await send_code(other, second)
        await other.wait_for_url(f"{front.url}/two")
        await send_code(page, first)
        await page.wait_for_url(f"{front.url}/one")


async def test_options_of_the_route_file_reach_the_component(open_front: OpenFront, page: Page) -> None:
    flow = "flow: {theme: dark, form: {email: cleo@example.com}, client: {plan: pro}}"
    options = "flow_options: {validate_on_blur: true, debug: true}"
    async with open_front(top=f"login: {{methods: [flow], {flow}, {options}}}") as front:
        await page.goto(f"{front.url}/deep")
        await page.get_by_label("E-mail").wait_for()
        async with page.expect_request("**/v1/flow/start") as starting:
            await page.locator("vaadin-button#continue").click()

        sent: Any = (await starting.value).post_data_json
        assert sent["input"]["email"] == "cleo@example.com"
        assert sent["options"]["client"] == {"plan": "pro"}
        assert sent["options"]["redirectUrl"].startswith(f"{front.url}/.auth/flow?rd=%2F")
        assert "%2Fdeep" in sent["options"]["redirectUrl"]
        attributes = await page.locator("descope-wc").evaluate("one => one.getAttributeNames().join(' ')")
        assert {"theme", "debug", "validate-on-blur"} <= set(attributes.split())
        assert await page.locator("descope-debugger").count() == 1


async def test_without_javascript_the_page_says_what_it_needs(open_front: OpenFront, visits: Visits) -> None:
    async with (
        open_front(top="login: {methods: [flow, password]}") as front,
        visits.page(java_script_enabled=False) as page,
    ):
        await page.goto(f"{front.url}/deep")

        assert "needs JavaScript" in await page.locator("noscript").inner_text()
        assert await page.get_by_role("link").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_around_the_flow_can_be_read_by_everybody(
    open_front: OpenFront, visits: Visits, scheme: Any
) -> None:
    size: Any = {"width": 320, "height": 640}
    async with (
        open_front(top="login: {methods: [flow, password]}") as front,
        visits.page(color_scheme=scheme, viewport=size, bypass_csp=True) as page,
    ):
        await page.goto(f"{front.url}/deep")
        await page.get_by_label("E-mail").wait_for()

        assert await findings(page) == []
        assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth")


# --- the browser SDK --------------------------------------------------------------------------------------------------

# What an application does that was written with the SDK: it renews on each page, and keeps tokens if it is given any.
APPLICATION = f"""<!doctype html><title>Application</title><link rel="icon" href="data:,">
<script src="/public/sdk.js"></script><script>
window.sdk = Descope({{projectId: "{PROJECT}", baseUrl: location.origin + "/.auth/descope", persistTokens: true,
  autoRefresh: true}});
window.renewed = sdk.refresh().then(({{ok, code}}) => ({{ok, code}}));
</script>"""


@asynccontextmanager
async def application(open_front: OpenFront) -> AsyncIterator[House]:
    """A house whose service serves pages with the SDK, under rotation."""
    if not SDK.is_file():
        without("the browser SDK is not installed; run make node-modules")
    script = SDK.read_bytes()

    async def serve(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await read_body(seen, reader)
        is_script = seen.path == "/public/sdk.js"
        kind, body = ("text/javascript", script) if is_script else ("text/html", APPLICATION.encode())
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        return True

    async with open_front(top="login: {methods: [flow, password]}") as front:
        front.upstream.reply = serve
        front.emulator.configure(refresh_rotation="on")
        yield front


async def renewed(page: Page) -> Any:
    return await page.evaluate("window.renewed")


async def sign_in_by_sdk(page: Page) -> Any:
    return await page.evaluate(
        "sdk.password.signIn('ada@example.com', 'ada-demo-password').then(({ok, data}) => ({ok, data}))"
    )


async def test_the_sdk_signs_in_and_stays_signed_in_under_rotation(
    open_front: OpenFront, page: Page, person: BrowserContext, complaints: Complaints
) -> None:
    async with application(open_front) as front:
        await page.goto(f"{front.url}/public/start")
        assert (await renewed(page))["ok"] is False
        signed_in = await sign_in_by_sdk(page)
        for number in range(4):
            await page.goto(f"{front.url}/private/{number}")
            assert page.url == f"{front.url}/private/{number}"
            assert (await renewed(page))["ok"] is True
            front.put_forward(700)  # the session has run out by the next page

        assert signed_in["ok"] is True
        assert "sessionJwt" not in signed_in["data"]
        assert JWT not in await kept(page)
        assert front.emulator.count("reuse_detected") == 0
        assert {cookie["name"] for cookie in await person.cookies()} >= {"DS", "DSR"}
        complaints.told.clear()


async def test_tabs_that_renew_at_once_stay_signed_in_together(
    open_front: OpenFront, page: Page, person: BrowserContext
) -> None:
    async with application(open_front) as front:
        await page.goto(f"{front.url}/public/start")
        await sign_in_by_sdk(page)
        front.put_forward(700)
        tabs = [page, *[await person.new_page() for _ in range(3)]]
        await asyncio.gather(*(tab.goto(f"{front.url}/private/{at}") for at, tab in enumerate(tabs)))

        assert [(await renewed(tab))["ok"] for tab in tabs] == [True] * 4
        assert front.emulator.count("reuse_detected") == 0


async def test_the_sdk_renews_by_itself_before_the_session_runs_out(open_front: OpenFront, page: Page) -> None:
    async with application(open_front) as front:
        await page.clock.install()
        await page.goto(f"{front.url}/public/start")
        await sign_in_by_sdk(page)
        front.put_forward(590)
        async with page.expect_response("**/v1/auth/refresh?*") as answering:
            await page.clock.fast_forward(590_000)

        assert (await answering.value).status == 200
        assert front.emulator.count("reuse_detected") == 0


async def test_an_sdk_that_keeps_tokens_of_its_own_gets_their_successors(
    open_front: OpenFront, page: Page, complaints: Complaints
) -> None:
    async with application(open_front) as front:
        await page.goto(f"{front.url}/public/start")
        session, refresh = front.emulator.sign_in(ADA)
        await page.evaluate("([ds, dsr]) => { localStorage.DS = ds; localStorage.DSR = dsr }", [session, refresh])
        for number in range(3):
            await page.goto(f"{front.url}/public/{number}")
            assert (await renewed(page))["ok"] is True
            front.put_forward(700)

        assert await page.evaluate("localStorage.DSR") != refresh
        assert front.emulator.count("reuse_detected") == 0
        complaints.told.clear()


async def test_signing_out_by_the_sdk_signs_out_of_the_gateway(
    open_front: OpenFront, page: Page, person: BrowserContext, complaints: Complaints
) -> None:
    async with application(open_front) as front:
        await page.goto(f"{front.url}/public/start")
        await sign_in_by_sdk(page)
        answer = await page.evaluate("sdk.logout().then(({ok}) => ok)")
        await page.goto(f"{front.url}/private/x")
        await page.get_by_label("E-mail").wait_for()

        assert answer is True
        assert "/.auth/login" in page.url
        assert {cookie["name"] for cookie in await person.cookies()}.isdisjoint({"DS", "DSR"})
        complaints.told.clear()
