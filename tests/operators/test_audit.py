"""The audit stream: what it records, what never, and what becomes of the file."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from gateway import routefile
from gateway.core.errors import ConfigError
from tests.conftest import ROOT, WORKER_KEY, House, OpenHouse, cookie_header, set_cookies

FIELDS = (
    "time event outcome reason status request_id trace_id route method host path client subject tenant".split()
)  # fmt: skip
SESSION_S = 700


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@asynccontextmanager
async def audited(built: OpenHouse, path: Path) -> AsyncIterator[House]:
    async with built(top=f"audit: {{file: {path}}}") as house:
        yield house


def flushed(house: House) -> None:
    assert house.gateway.audit is not None
    house.gateway.audit.flush()


async def everything(house: House) -> list[str]:
    """One of each event; returns the secrets that took part."""
    cookies = house.cookies("ada@example.com")
    await house.get("/admin/x?code=in-the-query", cookies=house.cookies("bob@example.com"))
    await house.get("/app", headers={"Authorization": "Bearer a.forged.token"})
    renewed = await house.get("/app?token=in-the-query", cookies={"DSR": cookies["DSR"]})
    await house.get("/jobs/x", headers={"X-API-Key": WORKER_KEY})
    await house.get("/jobs/x", headers={"X-API-Key": "K2nobody0000000000000000000nobodyskey"})
    fresh = set_cookies(renewed)
    await house.send("POST", "/.auth/logout", headers={**cookie_header(fresh), "Sec-Fetch-Site": "same-origin"})
    tokens = filter(None, (*cookies.values(), *fresh.values()))
    return [*tokens, WORKER_KEY, "nobodyskey", "in-the-query", "forged"]


async def test_a_record_is_written_for_each_event_and_none_for_what_is_admitted(
    built: OpenHouse, tmp_path: Path
) -> None:
    path = tmp_path / "audit.jsonl"
    async with audited(built, path) as house:
        await house.get("/public/x")
        await house.get("/app", cookies=house.cookies("ada@example.com"))
        await everything(house)
        flushed(house)
        told = records(path)

    assert [(r["event"], r["outcome"], r["reason"], r["route"]) for r in told] == [
        ("refusal", "refused", "role_missing", "admin"),
        ("refusal", "refused", "token_malformed", "rest"),
        ("renewal", "renewed", "", "rest"),
        ("key_exchange", "exchanged", "", "jobs"),
        ("key_exchange", "refused", "", "jobs"),
        ("refusal", "refused", "access_key_refused", "jobs"),
        ("sign_out", "here", "", ".auth"),
    ]
    assert all(list(record) == FIELDS for record in told)
    assert all(record["request_id"] and record["client"] == "127.0.0.1" and record["method"] for record in told)
    subjects = {r["event"]: r["subject"] for r in told}
    assert told[0]["subject"].startswith("U")
    assert subjects["sign_out"] == told[2]["subject"] != told[0]["subject"]
    assert told[3]["subject"].startswith("K")


async def test_a_sign_in_is_recorded_with_who_it_was(built: OpenHouse, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with built(top=f"audit: {{file: {path}}}\nlogin: {{methods: [password]}}") as house:
        form = {"login_id": "ada@example.com", "password": password_of("ada@example.com")}
        done = await house.send("POST", "/.auth/password/signin", json=form, headers={"Sec-Fetch-Site": "same-origin"})
        flushed(house)

    assert done.status in (200, 204, 303), done
    [record] = [r for r in records(path) if r["event"] == "sign_in"]
    assert (record["outcome"], record["route"], record["subject"][:1]) == ("begun", ".auth", "U")
    assert form["password"] not in path.read_text("utf-8")


def password_of(login_id: str) -> str:
    from gateway.emulator import load_seed

    seed = load_seed(ROOT / "config" / "emulator.yaml")
    [person] = [person for person in seed.people if person.login_id == login_id]
    assert person.password is not None
    return person.password.get_secret_value()


async def test_t16_no_token_cookie_key_or_query_is_in_an_audit_record(built: OpenHouse, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with audited(built, path) as house:
        secrets = await everything(house)
        flushed(house)
        written = path.read_text("utf-8")

    assert len(written) > 500
    assert [secret for secret in secrets if secret in written] == []


async def test_a_file_that_is_renamed_is_followed_by_a_new_one(built: OpenHouse, tmp_path: Path) -> None:
    path, older = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    path.write_text('{"event": "of an earlier run"}\n', "utf-8")
    async with audited(built, path) as house:
        await house.get("/app")
        flushed(house)
        path.rename(older)
        await house.get("/app")
        flushed(house)

    assert [r["event"] for r in records(older)] == ["of an earlier run", "refusal"]
    assert [r["event"] for r in records(path)] == ["refusal"]


async def test_a_file_that_is_copied_and_truncated_is_written_from_its_beginning(
    built: OpenHouse, tmp_path: Path
) -> None:
    path = tmp_path / "audit.jsonl"
    async with audited(built, path) as house:
        await house.get("/app")
        flushed(house)
        path.write_text("", "utf-8")
        await house.get("/app")
        flushed(house)

    assert [r["event"] for r in records(path)] == ["refusal"]


async def test_records_come_without_being_asked_for_and_the_last_at_the_stop(built: OpenHouse, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with audited(built, path) as house:
        await house.get("/app")
        for _ in range(40):
            if path.stat().st_size:
                break
            await asyncio.sleep(0.01)
        assert len(records(path)) == 1
        await house.get("/app")

    assert len(records(path)) == 2


async def test_a_file_that_cannot_be_opened_is_an_error_that_names_it(built: OpenHouse, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"audit\.file: .*/nowhere/audit\.jsonl cannot be opened .*No such file"):
        async with audited(built, tmp_path / "nowhere" / "audit.jsonl"):
            pass


async def test_a_record_that_cannot_be_written_is_counted_and_refuses_as_ever(built: OpenHouse, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    path = folder / "audit.jsonl"
    async with audited(built, path) as house:
        path.unlink()
        folder.rmdir()
        for _ in range(2):
            assert (await house.get("/app")).status == 401
            flushed(house)
        lost = house.gateway.metrics.registry.get_sample_value("gateway_audit_lost_total")
        folder.mkdir()
        await house.get("/app")
        flushed(house)

    assert lost == 2
    assert len(records(path)) == 1


async def test_audit_stdout_writes_among_the_lines_of_the_log(built: OpenHouse) -> None:
    stream = StringIO()
    async with built(top="audit: stdout", log_form="json", log_stream=stream) as house:
        await house.get("/app")

    events = sorted(json.loads(line)["event"] for line in stream.getvalue().splitlines())
    assert events == ["refusal", "request"]


async def test_without_the_key_there_is_no_audit(house: House) -> None:
    assert house.gateway.audit is None


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        pytest.param("audit: stderr", "write audit: stdout", id="another word"),
        pytest.param("audit: {file: audit.jsonl}", "absolute path", id="a relative path"),
        pytest.param("audit: {file: /tmp/a, form: text}", "form", id="a key that there is not"),
        pytest.param("audit: {}", "file", id="no file"),
        pytest.param("audit: [stdout]", "write audit: stdout", id="a list"),
    ],
)
def test_what_audit_may_say_is_told(said: str, problem: str) -> None:
    text = f"""
version: 1
descope: {{project_id: P2demo0000000000000000000000}}
server: {{public_urls: ["https://app.example.com"]}}
upstreams: {{legacy: {{url: "http://127.0.0.1:9000"}}}}
routes: [{{id: all, match: {{path: "/**"}}, upstream: legacy}}]
{said}
"""
    with pytest.raises(ConfigError, match=problem):
        routefile.parse(text, "test.yaml", {})
