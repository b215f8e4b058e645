"""What a gateway remembers of requests that were refused, and how it is told."""

import asyncio
import json
from typing import Any

from click.testing import CliRunner, Result

from gateway.cli import cli
from gateway.decisions import MOST
from tests.conftest import LOOPBACK, WORKER_KEY, House, OpenHouse


async def decisions(house: House, path: str = "/decisions") -> list[dict[str, Any]]:
    async with house.http.get(str(house.admin).rstrip("/") + path) as reply:
        assert (reply.status, reply.content_type) == (200, "application/json")
        return list((await reply.json())["decisions"])


async def asked(house: House, request_id: str) -> Result:
    """`gateway explain --request-id`, with this house's admin listener."""
    arguments = ["explain", "--request-id", request_id, "--admin", f"{LOOPBACK}:{house.admin.port}"]
    return await asyncio.to_thread(CliRunner().invoke, cli, arguments)


async def test_a_refusal_is_remembered_and_an_admitted_request_is_not(house: House) -> None:
    await house.get("/public/x")
    refused = await house.get("/admin/x?token=in-the-query", cookies=house.cookies("bob@example.com"))
    [told] = await decisions(house)

    assert told["request_id"] == refused.headers["X-Request-Id"]
    assert (told["reason"], told["status"], told["route"], told["path"]) == ("role_missing", 403, "admin", "/admin/x")
    assert (told["method"], told["client"], told["subject"][:1]) == ("GET", LOOPBACK, "U")
    assert await decisions(house, f"/decisions/{told['request_id']}") == [told]
    assert await decisions(house, "/decisions/another") == []


async def test_the_newest_come_first_and_the_oldest_are_forgotten(house: House) -> None:
    first = last = await house.get("/app")
    for _ in range(MOST):
        last = await house.get("/app")
    told = await decisions(house)

    assert len(told) == MOST
    assert told[0]["request_id"] == last.headers["X-Request-Id"]
    assert first.headers["X-Request-Id"] not in {one["request_id"] for one in told}


async def test_a_failed_request_is_remembered_with_its_upstream(built: OpenHouse) -> None:
    async with built() as house:
        house.upstream.reply = b"nonsense\r\n\r\n"
        await house.get("/public/x")
        [told] = await decisions(house)

    assert (told["outcome"], told["reason"], told["upstream"]) == ("failed", "upstream_bad_reply", "legacy")


async def test_t16_no_token_key_or_query_is_among_the_decisions(house: House) -> None:
    cookies = house.cookies("bob@example.com")
    await house.get("/admin/x?code=in-the-query", cookies=cookies)
    await house.get("/jobs/x", headers={"X-API-Key": WORKER_KEY[:-1]})
    told = json.dumps(await decisions(house))

    assert "admin" in told
    assert "access_key_refused" in told
    assert [one for one in (*cookies.values(), WORKER_KEY[:-1], "in-the-query") if one in told] == []


async def test_explain_tells_what_was_decided_and_what_to_do(house: House) -> None:
    refused = await house.get("/t/acme/docs/x")
    told = await asked(house, refused.headers["X-Request-Id"])

    assert told.exit_code == 0, told.output
    for words in ("/t/acme/docs/x", "401 no_credentials", "route docs", "Operator:"):
        assert words in told.output


async def test_explain_says_when_a_decision_is_no_longer_in_memory(house: House) -> None:
    admitted = await house.get("/public/x")
    told = await asked(house, admitted.headers["X-Request-Id"])

    assert told.exit_code == 1
    assert "no longer in memory" in told.output


async def test_explain_names_an_admin_listener_that_is_none(house: House) -> None:
    house.admin = house.url
    told = await asked(house, "0a")

    assert told.exit_code == 1
    assert "answers as no admin listener" in told.output


def test_explain_takes_an_id_or_a_request_and_not_both() -> None:
    for arguments in ([], ["GET"], ["GET", "/", "--request-id", "a"], ["--request-id", "../metrics"]):
        told = CliRunner().invoke(cli, ["explain", *arguments])

        assert told.exit_code == 2, arguments
