"""What a gateway promises holds with one worker and with two: programs of their own, asked on many connections."""

import asyncio
import json
from base64 import b64encode
from hashlib import sha1
from pathlib import Path
from typing import Any

import aiohttp
import jwt
from yarl import URL

from tests.conftest import WORKER_KEY, Reply, Seen, cookie_header, reason_of, set_cookies
from tests.workers.conftest import Fleet, OpenFleet

BOB, ADA = "bob@example.com", "ada@example.com"
LIMITED = """
limits: {few: {rate: 6/h, burst: 6, per: client}, own: {rate: 5/h, burst: 5, per: subject}}
routes:
  - {id: few, match: {path: "/few/**"}, auth: public, upstream: legacy, limit: [few]}
  - {id: own, match: {path: "/own/**"}, upstream: legacy, limit: [own]}
"""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def statuses(replies: list[Reply]) -> set[int]:
    return {reply.status for reply in replies}


async def test_t25_fifty_parallel_requests_with_one_expired_session_are_one_renewal(
    fleet_of: OpenFleet, one_or_two: int
) -> None:
    async with fleet_of(one_or_two) as fleet:
        fleet.emulator.configure(refresh_rotation="on")
        old = fleet.cookies(BOB, expired=True)
        fleet.emulator.fault("refresh", delay_s=0.2, times=1)

        replies = await fleet.many(50, headers=cookie_header(old))
        late = await fleet.many(10, headers=cookie_header(old))
        new = set_cookies(replies[0])
        renewed = await fleet.many(10, headers=cookie_header(new))

        assert statuses(replies) == statuses(late) == statuses(renewed) == {200}
        assert fleet.emulator.count("refresh") == 1
        assert fleet.emulator.count("reuse_detected") == 0
        assert len({tuple(reply.headers.getall("Set-Cookie")) for reply in (*replies, *late)}) == 1


async def test_t16_a_429_of_descope_rests_the_operation_for_everybody(fleet_of: OpenFleet, one_or_two: int) -> None:
    async with fleet_of(one_or_two) as fleet:
        valid, old = fleet.cookies(ADA), fleet.cookies(BOB, expired=True)
        fleet.emulator.fault("refresh", status=429, headers={"Retry-After": "7"}, times=None)

        replies = await fleet.many(20, headers=cookie_header(old))
        others = await fleet.many(10, headers=cookie_header(valid))

        assert statuses(others) == {200}
        assert {(reply.status, reason_of(reply)) for reply in replies} == {(503, "identity_provider_busy")}
        assert {int(reply.headers["Retry-After"]) for reply in replies} <= set(range(1, 8))
        assert not any("Set-Cookie" in reply.headers for reply in replies)
        assert fleet.emulator.count("refresh") == 1


async def test_t13_two_hundred_unknown_key_ids_are_one_fetch(fleet_of: OpenFleet, one_or_two: int) -> None:
    async with fleet_of(one_or_two) as fleet:
        before = fleet.emulator.count("keys")
        claims = {"iss": "P2demo0000000000000000000000", "sub": "U2ada", "exp": 4_000_000_000, "iat": 1}
        key = "k" * 32

        def forged(number: int) -> str:
            token = jwt.encode(claims, key, headers={"kid": f"SK{number}", "alg": "HS256"})
            head = jwt.utils.base64url_encode(f'{{"alg":"RS256","kid":"SK{number}","typ":"JWT"}}'.encode()).decode()
            return head + token[token.index(".") :]

        replies = await asyncio.gather(*(fleet.get("/x", headers=bearer(forged(n))) for n in range(200)))
        valid = await fleet.many(10, headers=cookie_header(fleet.cookies(ADA)))

        assert {(reply.status, reason_of(reply)) for reply in replies} == {(401, "token_unknown_key")}
        assert statuses(valid) == {200}
        assert fleet.emulator.count("keys") - before == 1


async def test_t14_made_up_access_keys_neither_reach_descope_nor_stop_one_that_worked(
    fleet_of: OpenFleet, one_or_two: int
) -> None:
    async with fleet_of(one_or_two) as fleet:
        first = await fleet.get("/jobs/x", headers=bearer(WORKER_KEY))

        made_up = await asyncio.gather(*(fleet.get("/jobs/x", headers=bearer(f"made-up-{n}")) for n in range(200)))
        worked = await fleet.many(20, "/jobs/x", headers=bearer(WORKER_KEY))

        assert first.status == 200
        assert statuses(worked) == {200}
        assert sorted(map(reason_of, made_up)) == ["access_key_refused"] * 4 + ["rate_limited"] * 196
        assert fleet.emulator.count("exchange") == 5


async def test_an_access_key_is_exchanged_once_for_all(fleet_of: OpenFleet, one_or_two: int) -> None:
    async with fleet_of(one_or_two) as fleet:
        fleet.emulator.fault("exchange", delay_s=0.1, times=1)
        at_once = await fleet.many(30, "/jobs/x", headers=bearer(WORKER_KEY))
        later = await fleet.many(10, "/jobs/x", headers=bearer(WORKER_KEY))

        assert statuses(at_once) == statuses(later) == {200}
        assert fleet.emulator.count("exchange") == 1


async def test_t15_after_sign_out_no_worker_takes_either_token(fleet_of: OpenFleet, one_or_two: int) -> None:
    async with fleet_of(one_or_two) as fleet:
        cookies = fleet.cookies(ADA)
        before = await fleet.many(16, headers=cookie_header(cookies))
        out = await fleet.send("POST", "/.auth/logout", headers=cookie_header(cookies))
        after = await fleet.many(16, headers=cookie_header(cookies))
        refresh_alone = await fleet.many(16, headers=cookie_header({"DSR": cookies["DSR"]}))

        assert out.status in (200, 204, 303)
        assert statuses(before) == {200}
        assert statuses(after) == statuses(refresh_alone) == {401}
        assert fleet.emulator.count("logout") == 1
        assert fleet.emulator.count("refresh") == 0


async def test_t15_sign_out_everywhere_ends_the_subjects_sessions_on_all_workers(
    fleet_of: OpenFleet, one_or_two: int
) -> None:
    async with fleet_of(one_or_two) as fleet:
        one, other = fleet.cookies(ADA), fleet.cookies(ADA)
        await fleet.many(16, headers=cookie_header(other))
        out = await fleet.send("POST", "/.auth/logout-all", headers=cookie_header(one))
        after = await fleet.many(16, headers=cookie_header(other))

        assert out.status in (200, 204, 303)
        assert statuses(after) == {401}


async def test_t24_streams_on_all_workers_end_with_a_sign_out_on_one(fleet_of: OpenFleet, one_or_two: int) -> None:
    async with fleet_of(one_or_two) as fleet:
        fleet.upstream.reply = echo
        mine, others = fleet.cookies(ADA), fleet.cookies(BOB)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            sockets = [await opened(fleet, http, mine) for _ in range(12)]
            stays = await opened(fleet, http, others)
            await fleet.send("POST", "/.auth/logout", headers=cookie_header(mine))
            async with asyncio.timeout(5):
                ends = [await socket.receive() for socket in sockets]
            await stays.send_str("still here")

            assert {(end.type, end.data) for end in ends} == {(aiohttp.WSMsgType.CLOSE, 1008)}
            assert (await stays.receive()).data == "still here"


async def opened(fleet: Fleet, http: aiohttp.ClientSession, cookies: dict[str, str]) -> Any:
    headers = cookie_header(cookies) | {"Origin": "http://app.example.com"}
    return await http.ws_connect(URL(str(fleet.url) + "/ws"), headers=headers, autoclose=False)


async def echo(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """A service that accepts any WebSocket, and sends each frame of text back."""
    key = (seen.value("sec-websocket-key") or "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = b64encode(sha1(key.encode(), usedforsecurity=False).digest())
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    writer.write(upgrade + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    while True:
        flags, size = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        text = bytes(one ^ mask[place % 4] for place, one in enumerate(await reader.readexactly(size & 0x7F)))
        writer.write(bytes([flags, len(text)]) + text)


async def test_t22_a_limit_holds_over_all_workers_together(fleet_of: OpenFleet, one_or_two: int) -> None:
    async with fleet_of(one_or_two, routes=LIMITED) as fleet:
        by_client = await fleet.many(40, "/few/x")
        by_subject = await fleet.many(40, "/own/x", headers=cookie_header(fleet.cookies(ADA)))

        assert sorted(reply.status for reply in by_client) == [200] * 6 + [429] * 34
        assert sorted(reply.status for reply in by_subject) == [200] * 5 + [429] * 35
        assert await fleet.metric("gateway_requests_total", outcome="admitted") == 11
        assert await fleet.metric("gateway_requests_total", reason="rate_limited") == 69


async def test_the_admin_listener_tells_of_all_workers(fleet_of: OpenFleet, one_or_two: int) -> None:
    async with fleet_of(one_or_two) as fleet:
        await fleet.many(40, "/public/x")
        refused = await fleet.many(20)
        decided = (await fleet.asked("/decisions")).text
        one = (await fleet.asked("/decisions/" + refused[3].headers["X-Request-Id"])).text

        assert await fleet.metric("gateway_requests_total", route="public") == 40
        assert await fleet.metric("gateway_request_seconds_count", route="rest") == 20
        assert await fleet.metric("gateway_workers") == one_or_two
        assert all(reply.headers["X-Request-Id"] in decided for reply in refused)
        assert "no_credentials" in one


async def test_audit_records_name_the_request_whichever_process_writes_them(
    fleet_of: OpenFleet, one_or_two: int, tmp_path: Path
) -> None:
    audit = tmp_path / "audit.jsonl"
    async with fleet_of(one_or_two, top=f"audit: {{file: {audit}}}") as fleet:
        renewed = await fleet.get("/x", headers=cookie_header(fleet.cookies(ADA, expired=True)))
        exchanged = await fleet.get("/jobs/x", headers=bearer(WORKER_KEY))
        refused = await fleet.get("/x")
    records = {record["event"]: record for record in map(json.loads, audit.read_text().splitlines())}
    of = {event: records[event]["request_id"] for event in ("renewal", "key_exchange", "refusal")}

    assert of == {
        "renewal": renewed.headers["X-Request-Id"],
        "key_exchange": exchanged.headers["X-Request-Id"],
        "refusal": refused.headers["X-Request-Id"],
    }
    assert (records["renewal"]["route"], records["renewal"]["client"]) == ("rest", "127.0.0.1")


async def test_every_log_line_is_whole_and_names_its_process_where_there_are_several(
    fleet_of: OpenFleet, one_or_two: int
) -> None:
    async with fleet_of(one_or_two) as fleet:
        await fleet.many(60, "/public/x")
    lines = [json.loads(line) for line in fleet.log_file.read_text().splitlines()]

    assert sum(line["event"] == "request" for line in lines) == 60
    names = {line.get("process") for line in lines if line["event"] in ("serving", "stopped")}
    assert names == ({None} if one_or_two == 1 else {"keeper", "worker 1", "worker 2"})
