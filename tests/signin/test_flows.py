"""Flows without a browser: what is served to the component, what is let through to Descope, and whose tokens count."""

import gzip
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from gateway.core.facts import gather, read_block
from gateway.core.limits import Allowances
from gateway.core.model import RequestFacts
from gateway.core.signin import LoginRules, Method
from gateway.doors.auth.component import FOLDER, component_files
from gateway.doors.auth.descope_paths import passages
from gateway.doors.auth.desk import Desk
from gateway.doors.auth.flow import FlowPage, FlowSetting
from gateway.doors.auth.login import LoginPage
from gateway.doors.look import plain_look
from tests.conftest import PROJECT, House, OpenHouse, Reply, cookie_header, reason_of, set_cookies
from tests.real.browser import without

FLOW = "login: {methods: [flow]}"
ALL = (
    "login: {methods: [flow, password, otp, magic_link, totp, oauth, sso], sign_up: true,"
    " oauth: {providers: [google]}, otp: {channels: [email, sms]}}"
)
HERE = {"Origin": "http://app.example.com"}
SDK = HERE | {"Authorization": f"Bearer {PROJECT}"}
PAGES = f"/.auth/descope/pages/{PROJECT}/v2-beta"
ADA = "ada@example.com"


async def ask(house: House, path: str, body: object = None, **headers: str) -> Reply:
    """As the SDK does."""
    return await house.send("POST", f"/.auth/descope{path}", json=body or {}, headers=SDK | headers)


async def start(house: House, login_id: str = ADA, flow_id: str = "sign-up-or-in", **headers: str) -> Reply:
    """The first screen's button."""
    body = {"flowId": flow_id, "interactionId": "continue", "input": {"email": login_id}}
    return await ask(house, "/v1/flow/start", body, **headers)


async def go_on(house: House, before: Reply, code: str, **headers: str) -> Reply:
    """The second screen's button."""
    run = json.loads(before.body)
    body = {"executionId": run["executionId"], "stepId": "code", "interactionId": "verify", "input": {"code": code}}
    nonce = {"X-Descope-Flow-Nonce": before.headers["X-Descope-Flow-Nonce"]}
    return await ask(house, "/v1/flow/next", body, **nonce, **headers)


async def completed(house: House, login_id: str = ADA) -> dict[str, Any]:
    """What a flow ends with."""
    begun = await start(house, login_id)
    done = json.loads((await go_on(house, begun, house.emulator.inbox.last(login_id).code)).body)
    assert done["status"] == "completed"
    return dict(done["authInfo"])


async def bring(house: House, session: str, refresh: str, **headers: str) -> Reply:
    return await house.send(
        "POST", "/.auth/session", json={"sessionJwt": session, "refreshJwt": refresh}, headers=HERE | headers
    )


@pytest.mark.parametrize(
    "word",
    ['"\\ud800"', "NaN", "1e999", '{"\\udfff": 1}', "[" * 938 + "]" * 938, "[" * 65 + "]" * 65],
    ids=["half a character", "no number", "too large", "half a character in a name", "too deep to write", "too deep"],
)
@pytest.mark.parametrize("path", ["/v1/flow/start", "/v1/flow/next", "/v1/auth/password/signin"])
async def test_t18_words_that_cannot_be_sent_on_rest_nobodys_sign_in(built: OpenHouse, path: str, word: str) -> None:
    body = f'{{"flowId": "sign-up-or-in", "loginId": {word}}}'
    async with built(top=ALL) as house:
        hostile = await house.send("POST", f"/.auth/descope{path}", data=body, headers=SDK)
        others = [await start(house), await ask(house, "/v1/auth/password/signin", {"loginId": ADA, "password": "no"})]

    assert (hostile.status, reason_of(hostile)) == (400, "bad_request")
    assert [reply.status for reply in others] == [200, 401]


@pytest.mark.parametrize("flow_id", [["sign-up-or-in"], {}, None, 1], ids=["list", "object", "null", "number"])
async def test_only_a_name_names_a_flow(built: OpenHouse, flow_id: object) -> None:
    async with built(top=FLOW) as house:
        reply = await ask(house, "/v1/flow/start", {"flowId": flow_id})

    assert (reply.status, reason_of(reply)) == (404, "not_found")


# --- the page and its files -------------------------------------------------------------------------------------------


def installed() -> None:
    if not component_files().are_here:
        without("the flow component is not installed; run make component")


async def test_the_page_is_the_sign_in_page_where_flows_come_first(built: OpenHouse) -> None:
    installed()
    async with built(top="login: {methods: [flow, password], flow: {tenant: acme, form: {email: a@b.c}}}") as house:
        page = await house.get("/.auth/login?rd=/deep%3Fx=1")

        assert page.status == 200
        assert 'flow-id="sign-up-or-in"' in page.text
        assert 'tenant="acme"' in page.text
        assert 'form="{&#34;email&#34;: &#34;a@b.c&#34;}"' in page.text
        assert 'data-redirect-url="http://app.example.com/.auth/flow?rd=%2F' in page.text
        assert "/.auth/password/signin?rd=" in page.text


async def test_the_page_may_load_nothing_of_another_host_and_run_no_script_written_into_it(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        one, other = [await house.get("/.auth/flow") for _ in range(2)]

        policy = one.headers["Content-Security-Policy"]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["script-src"] == rules["connect-src"] == "'self'"
        assert "unsafe" not in policy
        assert "http" not in policy
        assert policy != other.headers["Content-Security-Policy"]


async def test_another_method_that_comes_first_has_the_sign_in_page(built: OpenHouse) -> None:
    async with built(top="login: {methods: [password, flow]}") as house:
        page = await house.get("/.auth/login")

        assert "/.auth/password/signin" in page.text
        assert "/.auth/flow?rd=" in page.text
        assert "descope-wc" not in page.text


async def test_a_route_may_name_the_flow_that_leads_to_it(built: OpenHouse) -> None:
    installed()
    routes = """
routes:
  - {id: strict, match: {path: "/strict/**"}, flow: sign-in, upstream: legacy}
  - {id: rest, match: {path: "/**"}, upstream: legacy}
"""
    async with built(top="login: {methods: [password, flow]}", routes=routes) as house:
        assert 'flow-id="sign-in"' in (await house.get("/.auth/login?rd=/strict/x?y=1")).text
        assert 'flow-id="sign-up-or-in"' in (await house.get("/.auth/flow?rd=/other")).text
        assert (await start(house, flow_id="sign-in")).status == 200


async def test_whoever_is_signed_in_goes_on_at_once(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        reply = await house.get(
            "/.auth/flow?rd=/deep&code=late&t=late", headers=cookie_header(house.cookies("bob@example.com"))
        )

        assert (reply.status, reply.headers["Location"]) == (303, "/deep")


async def test_without_its_files_the_page_says_how_to_get_them(house: House, tmp_path: Path) -> None:
    gateway = house.gateway
    server, login = gateway.config.server, LoginRules(methods=(Method.FLOW,))
    desk = Desk(gateway.sessions, login, server, gateway.tasks, gateway.clock, Allowances(), plain_look())
    setting = FlowSetting(PROJECT, "", gateway.config.table, lambda code: None)
    door = FlowPage(desk, setting, component_files(tmp_path), LoginPage(desk))

    async def nothing() -> bytes:
        return b""

    facts = gather(
        method="GET",
        raw_target=b"/.auth/flow",
        version=(1, 1),
        block=read_block(((b"Host", b"app.example.com"),), server.head_limits),
        peer="127.0.0.1",
        server=server,
    )
    assert isinstance(facts, RequestFacts)
    outcome = await door.endpoints["flow"]["GET"](facts, nothing)

    answer: Any = outcome.answer
    assert answer.status == 503
    assert b"make component" in answer.body
    assert b"<script" not in answer.body


async def test_the_component_may_be_kept_for_good_under_a_name_made_of_its_content(built: OpenHouse) -> None:
    installed()
    files = component_files()
    async with built(top=FLOW) as house:
        plain = await house.get(files.url("web-component.js"), headers={"Accept-Encoding": "identity"})
        asked = f"GET {files.url('web-component.js')} HTTP/1.1\r\nHost: app.example.com\r\nAccept-Encoding: br, gzip"
        packed = await house.raw(f"{asked}\r\n\r\n".encode())

        assert "immutable" in plain.headers["Cache-Control"]
        assert plain.body == (FOLDER / "web-component.js").read_bytes()
        head, _, body = packed.partition(b"\r\n\r\n")
        assert b"Content-Encoding: gzip" in head
        assert gzip.decompress(body) == plain.body
        assert plain.headers["Content-Type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "name",
    ["../package.json", "ui/../web-component.js", "LICENSE.txt", "ui", "", "web-component.js.gz", "ui/index.js/"],
)
async def test_t20_nothing_but_the_components_files_is_served_beside_them(built: OpenHouse, name: str) -> None:
    async with built(top=FLOW) as house:
        version = component_files().version or "none"
        reply = await house.get(f"/.auth/component/{version}/{name}")

        assert reply.status in (400, 404)
        assert (await house.get("/.auth/component/0123456789abcdef0123/web-component.js")).status == 404


# --- what is let through ----------------------------------------------------------------------------------------------

SHUT = [
    ("POST", "/v1/mgmt/user/search"),
    ("POST", "/v1/auth/accesskey/exchange"),
    ("POST", "/v1/auth/password/signup"),
    ("POST", "/v1/auth/password/signin"),
    ("POST", "/v1/auth/otp/signin/email"),
    ("POST", "/v1/auth/otp/update/email"),
    ("POST", "/v1/auth/enchantedlink/signin/email"),
    ("POST", "/v1/flow/run"),
    ("POST", "/v2/flow/start"),
    ("POST", "/v1/flow/start/"),
    ("GET", f"/v2/keys/{PROJECT}"),
    ("GET", f"/pages/{PROJECT}/v2-alpha/config.json"),
    ("GET", "/pages/P2other0000000000000000000000/v2-beta/config.json"),
    ("GET", f"/pages/{PROJECT}/v2-beta/"),
    ("GET", f"/pages/{PROJECT}/v2-beta/config.js"),
    ("GET", f"/pages/{PROJECT}/v2-beta/a/b/theme.json"),
    ("GET", f"/pages/{PROJECT}/v2-beta/.hidden.json"),
    ("GET", f"/pages/{PROJECT}/v2-beta/a%3Fb.json"),
    ("GET", f"/pages/{PROJECT}/v2-beta/../../../v1/auth/me"),
    ("GET", ""),
    ("GET", "/"),
]


@pytest.mark.parametrize(("method", "path"), SHUT, ids=[f"{method} {path}" for method, path in SHUT])
async def test_t20_what_the_list_does_not_name_is_not_there(built: OpenHouse, method: str, path: str) -> None:
    async with built(top=FLOW) as house:
        house.emulator.forget_requests()
        reply = await house.send(method, f"/.auth/descope{path}", headers=SDK)

        assert reply.status in (400, 404), reply.body
        assert house.emulator.requests == ()


async def test_without_flows_nothing_is_let_through(house: House) -> None:
    assert (await ask(house, "/v1/flow/start", {"flowId": "sign-up-or-in"})).status == 404
    assert (await house.get(f"{PAGES}/config.json")).status == 404
    assert (await house.get("/.auth/flow")).status == 404
    assert (await bring(house, "a", "b")).status == 404


async def test_a_path_takes_its_own_method_alone(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        assert (await house.get("/.auth/descope/v1/flow/start", headers=SDK)).status == 405
        assert (await ask(house, f"/pages/{PROJECT}/v2-beta/config.json")).status == 405


async def test_every_path_of_the_list_is_one_that_descope_has(built: OpenHouse) -> None:
    async with built(top=ALL) as house:
        for passage in passages(house.gateway.config.login):
            house.emulator.forget_requests()
            await house.send(
                passage.method,
                f"/.auth/descope{passage.path}",
                headers=SDK | cookie_header(house.cookies(ADA)),
                **({"json": {"loginId": ADA}} if passage.method == "POST" else {}),
            )
            house.put_forward(60)

            assert [seen.path for seen in house.emulator.requests] == [passage.path]
            assert house.emulator.count("unknown") == 0, passage.path


def test_sign_up_is_not_in_the_list_unless_the_route_file_allows_it() -> None:
    login = LoginRules(methods=tuple(Method))

    shut, opened = ({one.path for one in passages(replace(login, sign_up=allowed))} for allowed in (False, True))

    assert [path for path in shut if "signup" in path] == []
    assert opened - shut == {
        *(f"/v1/auth/{word}/{start}/email" for word in ("otp", "magiclink") for start in ("signup", "signup-in")),
        "/v1/auth/password/signup",
    }


async def test_no_other_flow_can_be_started(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        reply = await start(house, flow_id="sign-in")

        assert (reply.status, reason_of(reply)) == (404, "not_found")
        assert house.emulator.count("flow_start") == 0


@pytest.mark.parametrize("bearer", ["Bearer P2other0000000000000000000000", "Basic abc", f"Bearer {PROJECT}:a b"])
async def test_another_projects_page_is_refused(built: OpenHouse, bearer: str) -> None:
    async with built(top=FLOW) as house:
        reply = await start(house, Authorization=bearer)

        assert (reply.status, reason_of(reply)) == (401, "token_wrong_issuer")


async def test_t23_another_sites_page_starts_nothing_and_brings_nothing(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        session, refresh = house.emulator.sign_in(ADA)
        foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}

        for reply in (await start(house, **foreign), await bring(house, session, refresh, **foreign)):
            assert (reply.status, reason_of(reply)) == (403, "cross_site")
            assert set_cookies(reply) == {}
        assert house.emulator.count("flow_start") == 0


async def test_a_file_is_never_a_page_of_this_site(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        config, screen = await house.get(f"{PAGES}/config.json"), await house.get(f"{PAGES}/start.html")

        assert "sign-up-or-in" in json.loads(config.body)["flows"]
        assert screen.media_type == "text/plain"
        assert "sandbox" in screen.headers["Content-Security-Policy"]
        assert b"descope-email-field" in screen.body


async def test_a_file_is_asked_for_as_nobody_where_the_route_file_says(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        elsewhere = f"http://127.0.0.1:{house.upstream.port}/files"
        async with built(top=FLOW, static_url=elsewhere) as other:
            house.upstream.reply = b"HTTP/1.1 200 OK\r\nX-Geo: DE\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n{}"
            reply = await other.get(f"{PAGES}/acme/theme.json", headers=cookie_header(other.cookies(ADA)))

            assert (reply.status, reply.body, reply.headers["X-Geo"]) == (200, b"{}", "DE")
            assert "Set-Cookie" not in reply.headers
            assert house.upstream.last.path == f"/files/{PROJECT}/v2-beta/acme/theme.json"
            assert house.upstream.last.value("cookie") is None
            assert house.upstream.last.value("authorization") is None


async def test_a_file_that_is_not_there_is_404_and_rests_nobody(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        assert (await house.get(f"{PAGES}/nowhere.html")).status == 404
        assert (await house.get(f"{PAGES}/config.json")).status == 200


# --- flows ------------------------------------------------------------------------------------------------------------


async def test_a_flow_that_is_completed_hands_its_tokens_to_the_page_and_sets_no_cookie(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        for delivery in ("body", "cookies"):
            house.emulator.configure(delivery=delivery, send_wait_s=0)
            begun = await start(house)
            done = await go_on(house, begun, house.emulator.inbox.last(ADA).code)

            info = json.loads(done.body)["authInfo"]
            assert info["sessionJwt"].count(".") == info["refreshJwt"].count(".") == 2
            assert info["user"]["email"] == ADA
            assert "Set-Cookie" not in done.headers


async def test_a_wrong_code_is_the_flows_own_affair(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        begun = await start(house)
        wrong = await go_on(house, begun, "no code")
        right = await go_on(house, wrong, house.emulator.inbox.last(ADA).code)

        assert json.loads(wrong.body)["error"]["code"] == "E061102"
        assert json.loads(right.body)["status"] == "completed"


async def test_a_flow_that_has_timed_out_or_was_published_anew_says_so_by_descopes_code(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        begun = await start(house)
        house.emulator.configure(flow_version=2)
        anew = await go_on(house, begun, "1")
        house.put_forward(601)
        late = await go_on(house, begun, "1")

        assert (anew.status, json.loads(anew.body)["errorCode"]) == (400, "E102004")
        assert (late.status, json.loads(late.body)["errorCode"]) == (400, "E103205")


async def test_the_flow_learns_who_is_signed_in_from_the_newest_refresh_token_and_from_no_cookie(
    built: OpenHouse,
) -> None:
    async with built(top=FLOW) as house:
        house.emulator.configure(refresh_rotation="on")
        cookies = house.cookies(ADA)
        await house.send("POST", "/.auth/refresh", headers=HERE | cookie_header(cookies))
        reply = await ask(house, "/v1/flow/start", {"flowId": "sign-up-or-in"}, **cookie_header(cookies))

        assert json.loads(reply.body)["screen"]["state"]["form"]["email"] == ADA
        assert house.emulator.count("cookie_bearer_mismatch") == house.emulator.count("reuse_detected") == 0


async def test_a_fault_that_the_words_of_a_page_provoked_rests_nobody_else(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        house.emulator.fault("flow_start", status=500, times=1)

        assert (await start(house)).status == 502
        assert (await start(house)).status == 200


async def test_descopes_pause_is_kept_and_told(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        house.emulator.fault("flow_start", status=429, headers={"Retry-After": "7"}, times=1)
        busy = await start(house)
        again = await start(house)

        assert (busy.status, busy.headers["Retry-After"]) == (429, "7")
        assert json.loads(busy.body)["errorCode"] == "E130429"
        assert again.status == 429
        assert house.emulator.count("flow_start") == 1


async def test_descope_out_of_reach_is_503(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        house.emulator.fault("flow_start", status=503)
        reply = await start(house)

        assert reply.status == 503
        assert "Retry-After" in reply.headers


async def test_t18_one_client_does_not_ask_without_end(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        statuses = [(await ask(house, "/v1/auth/try-refresh")).status for _ in range(3)]
        statuses += [(await ask(house, "/v1/flow/next", {"executionId": "a"})).status for _ in range(90)]

        assert statuses[:3] == [200] * 3
        assert statuses[-1] == 429


async def test_t16_no_code_token_or_nonce_is_logged(built: OpenHouse) -> None:
    stream = StringIO()
    async with built(top=FLOW, log_form="json", log_stream=stream) as house:
        begun = await start(house)
        code = house.emulator.inbox.last(ADA).code
        info = json.loads((await go_on(house, begun, code)).body)["authInfo"]
        await bring(house, info["sessionJwt"], info["refreshJwt"])
        await house.get("/.auth/flow?code=secret-code&t=secret-token")
    logged = stream.getvalue()

    assert "/v1/flow/next" in logged
    for secret in (code, info["sessionJwt"], info["refreshJwt"], "secret", begun.headers["X-Descope-Flow-Nonce"], ADA):
        assert secret not in logged


async def test_errors_on_the_page_are_counted_by_bounded_words(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        for code in ("E103205", "E103205", "x" * 500, ""):
            reply = await house.send("POST", "/.auth/flow/error", json={"code": code}, headers=HERE)
            assert reply.status == 204

        metrics = await house.send("GET", "/.auth/flow/error")
        assert metrics.status == 405
        async with house.http.get(house.admin / "metrics") as scraped:
            text = await scraped.text()
        assert 'gateway_flow_errors_total{code="E103205"} 2.0' in text
        assert 'gateway_flow_errors_total{code="other"} 2.0' in text


# --- tokens into cookies ----------------------------------------------------------------------------------------------


async def test_the_tokens_of_a_flow_become_cookies_that_scripts_cannot_read(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        info = await completed(house)
        reply = await bring(house, info["sessionJwt"], info["refreshJwt"])

        assert (reply.status, json.loads(reply.body)["email"]) == (200, ADA)
        assert b"Jwt" not in reply.body
        lines = reply.headers.getall("Set-Cookie")
        assert {line.partition("=")[0] for line in lines if "Max-Age=0" not in line} == {"DS", "DSR"}
        assert all("HttpOnly" in line for line in lines)
        cookies = {name: value for name, value in set_cookies(reply).items() if value}
        assert (await house.get("/deep", headers=cookie_header(cookies))).status == 200


async def test_a_flow_begun_after_signing_out_everywhere_counts_within_the_same_second(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        await house.send("POST", "/.auth/logout-all", headers=HERE | cookie_header(house.cookies(ADA)))
        info = await completed(house)

        assert (await bring(house, info["sessionJwt"], info["refreshJwt"])).status == 200


async def test_t11_tokens_that_were_signed_out_are_brought_in_vain(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        stolen = house.cookies(ADA)
        await house.send("POST", "/.auth/logout-all", headers=HERE | cookie_header(house.cookies(ADA)))
        reply = await bring(house, stolen["DS"], stolen["DSR"])

        assert (reply.status, reason_of(reply)) == (401, "session_revoked")
        assert set_cookies(reply) == {}


async def test_t11_tokens_of_two_people_are_no_session(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        ada, bob = house.cookies(ADA), house.cookies("bob@example.com")
        reply = await bring(house, ada["DS"], bob["DSR"])

        assert (reply.status, reason_of(reply)) == (400, "ambiguous_credentials")


async def test_t12_only_genuine_tokens_of_the_right_kinds_are_taken(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        ada = house.cookies(ADA)
        forged = ada["DS"][:-6] + "AAAAAA"
        expected = {
            (forged, ada["DSR"]): "token_bad_signature",
            (ada["DSR"], ada["DSR"]): "token_wrong_kind",
            (ada["DS"], ada["DS"]): "token_wrong_kind",
            ("a.b.c", ada["DSR"]): "token_malformed",
        }
        for pair, reason in expected.items():
            reply = await bring(house, *pair)
            assert (reply.status, reason_of(reply), set_cookies(reply)) == (401, reason, {})
        house.put_forward(3600)
        late = await bring(house, ada["DS"], ada["DSR"])

        assert (late.status, reason_of(late)) == (401, "token_expired")


async def test_something_other_than_two_tokens_is_a_bad_request(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        for body in (
            {},
            {"sessionJwt": "a"},
            {"sessionJwt": 1, "refreshJwt": 2},
            {"sessionJwt": "a b", "refreshJwt": "c"},
        ):
            reply = await house.send("POST", "/.auth/session", json=body, headers=HERE)

            assert (reply.status, reason_of(reply)) == (400, "bad_request")


# --- the SDK ----------------------------------------------------------------------------------------------------------


async def test_signing_in_by_the_sdk_sets_cookies_and_tells_no_token(built: OpenHouse) -> None:
    async with built(top="login: {methods: [flow, password]}") as house:
        body = {"loginId": ADA, "password": "ada-demo-password"}
        reply = await ask(house, "/v1/auth/password/signin", body)

        told = json.loads(reply.body)
        assert told["user"]["email"] == ADA
        assert told["sessionExpiration"] > 0
        assert not {"sessionJwt", "refreshJwt"} & told.keys()
        assert {"DS", "DSR"} <= set_cookies(reply).keys()


async def test_a_wrong_password_is_refused_in_the_sdks_words_and_says_nothing_of_the_account(built: OpenHouse) -> None:
    async with built(top="login: {methods: [flow, password]}") as house:
        wrong, nobody = [
            await ask(house, "/v1/auth/password/signin", {"loginId": login_id, "password": "wrong"})
            for login_id in (ADA, "nobody@example.com")
        ]

        assert wrong.status == nobody.status == 401
        assert wrong.body == nobody.body
        assert "errorCode" in json.loads(wrong.body)


async def test_t19_a_code_to_nobody_is_answered_like_a_code_to_somebody(built: OpenHouse) -> None:
    async with built(top="login: {methods: [flow, otp]}") as house:
        known, unknown = [
            await ask(house, "/v1/auth/otp/signin/email", {"loginId": login_id})
            for login_id in ("ada@example.com", "abe@example.com")
        ]

        assert (known.status, known.body) == (unknown.status, unknown.body)
        assert json.loads(known.body) == {"maskedEmail": "a**@e******.com"}


async def test_the_sdk_renews_by_cookie_and_sees_no_token(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        house.emulator.configure(refresh_rotation="on")
        reply = await ask(house, "/v1/auth/refresh?dcs=f&dcr=f", **cookie_header(house.cookies(ADA)))

        told = json.loads(reply.body)
        assert told["sessionExpiration"] < told["cookieExpiration"]
        assert not {"sessionJwt", "refreshJwt"} & told.keys()
        assert set_cookies(reply)["DSR"]


async def test_t25_a_refresh_token_of_the_sdks_own_has_one_memory_with_the_cookies(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        house.emulator.configure(refresh_rotation="on")
        cookies = house.cookies(ADA)
        own = {"Authorization": f"Bearer {PROJECT}:{cookies['DSR']}"}
        by_sdk = await ask(house, "/v1/auth/refresh", **own)
        by_cookie = await house.send("POST", "/.auth/refresh", headers=HERE | cookie_header(cookies))
        once_more = await ask(house, "/v1/auth/refresh", **own)

        successor = json.loads(by_sdk.body)["refreshJwt"]
        assert successor != cookies["DSR"]
        assert by_cookie.status == once_more.status == 200
        assert house.emulator.count("reuse_detected") == 0


async def test_a_bearer_and_a_cookie_of_two_people_are_ambiguous(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        ada, bob = house.cookies(ADA), house.cookies("bob@example.com")
        own = {"Authorization": f"Bearer {PROJECT}:{ada['DSR']}"} | cookie_header(bob)
        for path in ("/v1/auth/refresh", "/v1/auth/logout"):
            reply = await ask(house, path, **own)

            assert (reply.status, reason_of(reply)) == (400, "ambiguous_credentials")
            assert set_cookies(reply) == {}


async def test_trying_to_renew_nothing_fails_nothing(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        tried, asked = await ask(house, "/v1/auth/try-refresh"), await ask(house, "/v1/auth/refresh")

        assert (tried.status, json.loads(tried.body)) == (200, {})
        assert (asked.status, reason_of(asked)) == (401, "no_credentials")
        assert house.emulator.count("refresh") == house.emulator.count("try_refresh") == 0


async def test_the_sdk_selects_a_tenant_and_asks_who_is_here(built: OpenHouse) -> None:
    async with built(top=FLOW) as house:
        cookies = house.cookies("cleo@example.com")
        chosen = await ask(house, "/v1/auth/tenant/select", {"tenant": "acme"}, **cookie_header(cookies))
        foreign = await ask(house, "/v1/auth/tenant/select", {"tenant": "elsewhere"}, **cookie_header(cookies))
        me = await house.get("/.auth/descope/v1/auth/me", headers=SDK | cookie_header(cookies))
        history = await house.get("/.auth/descope/v1/auth/me/history", headers=SDK | cookie_header(cookies))

        assert chosen.status == 200
        assert (foreign.status, reason_of(foreign)) == (403, "tenant_mismatch")
        assert json.loads(me.body)["email"] == "cleo@example.com"
        assert isinstance(json.loads(history.body), list)
        selected = {name: value for name, value in set_cookies(chosen).items() if value}
        about = await house.get("/.auth/me", headers=cookie_header(selected))
        assert json.loads(about.body)["tenant"] == "acme"


@pytest.mark.parametrize(("path", "others"), [("/v1/auth/logout", 200), ("/v1/auth/logoutall", 401)])
async def test_the_sdk_signs_out_here_and_at_descope(built: OpenHouse, path: str, others: int) -> None:
    async with built(top=FLOW) as house:
        here, there = house.cookies(ADA), house.cookies(ADA)
        reply = await ask(house, path, **cookie_header(here))

        assert reply.status == 200
        assert set_cookies(reply) | {"DS": "", "DSR": ""} == set_cookies(reply)
        assert (await house.get("/deep", headers=cookie_header(here))).status == 401
        assert (await house.get("/deep", headers=cookie_header(there))).status == others
        assert house.emulator.count("logout") + house.emulator.count("logoutall") == 1
