"""What `deploy/` offers to Prometheus and Grafana, held to a running gateway by Prometheus itself."""

import asyncio
import json
import math
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.conftest import LOOPBACK, OK, ROOT, ROUTES, WORKER_KEY, House, OpenHouse
from tests.real.browser import free_port, without

RULES = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n"
LIMITED = ROUTES + '  - {id: few, match: {path: "/few"}, auth: public, limit: [two], upstream: legacy}\n'
TOP = "limits: {two: {rate: 2/h, per: client}}"
_PATIENCE = 200  # times a twentieth of a second


def program(name: str) -> str:
    return shutil.which(name) or without(f"{name} is not installed")


def promtool(*arguments: str, told: bytes = b"", folder: Path = RULES) -> tuple[int, str]:
    """Exit code and all that was said."""
    done = subprocess.run(
        [program("promtool"), *arguments],
        cwd=folder,
        input=told,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=15,
    )
    return done.returncode, done.stdout.decode()


async def traffic(house: House) -> None:
    """Something of all that is counted."""
    cookies = house.cookies("ada@example.com")
    for _ in range(3):
        await house.get("/public/x")
        await house.get("/few")
        await house.get("/app", cookies=cookies)
        await house.get("/app")
        await house.get("/jobs/x", headers={"Authorization": f"Bearer {WORKER_KEY}"})
    await house.get("/app", cookies={"DSR": cookies["DSR"]})
    # What a page tells of a flow that failed; nothing else makes one here.
    house.gateway.metrics.flow_errors.labels("other").inc()
    house.upstream.reply = OK


@asynccontextmanager
async def two_streams(house: House) -> AsyncIterator[None]:
    """An event stream that stays, and one whose client left."""

    over = asyncio.Event()

    async def reply(_: object, __: object, writer: asyncio.StreamWriter) -> bool:
        writer.write(EVENTS)
        await writer.drain()
        await over.wait()
        return False

    house.upstream.reply = reply
    opened = [await asyncio.open_connection(LOOPBACK, house.url.port) for _ in range(2)]
    for reader, writer in opened:
        writer.write(b"GET /public/events HTTP/1.1\r\nHost: app.example.com\r\n\r\n")
        await reader.readuntil(b"data: one")
    opened[0][1].close()
    house.upstream.reply = OK
    try:
        yield
    finally:
        over.set()
        opened[1][1].close()


# --- metrics and alerts ---------------------------------------------------------------------------------------------


async def test_promtool_finds_nothing_to_say_of_the_metrics(built: OpenHouse) -> None:
    program("promtool")
    async with built(routes=LIMITED, top=TOP) as house, two_streams(house):
        await traffic(house)
        async with house.http.get(house.admin / "metrics") as reply:
            scraped = await reply.read()

    assert scraped.count(b"\n") > 100
    assert promtool("check", "metrics", told=scraped) == (0, "")


def test_the_alert_rules_are_rules_and_the_scrape_configuration_is_one() -> None:
    code, said = promtool("check", "config", "prometheus.yml")

    assert (code, "SUCCESS" in said, "FAILED" in said) == (0, True, False), said


def test_every_alert_fires_for_what_it_is_about() -> None:
    code, said = promtool("test", "rules", "gateway.rules.test.yml")
    tested = yaml.safe_load((RULES / "gateway.rules.test.yml").read_text("utf-8"))["tests"]
    alerts = {rule["alert"] for group in rules() for rule in group["rules"]}

    assert code == 0, said
    assert {case["alertname"] for test in tested for case in test["alert_rule_test"] if case["exp_alerts"]} == alerts


def rules() -> Any:
    return yaml.safe_load((RULES / "gateway.rules.yml").read_text("utf-8"))["groups"]


# --- what Prometheus finds in a running gateway -----------------------------------------------------------------------


def panels() -> Iterator[tuple[str, str, str]]:
    """Title, query and legend of every target of every panel, with Grafana's variables filled in."""
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            assert "$" not in expression, expression
            yield panel["title"], expression, target["legendFormat"]


@asynccontextmanager
async def scraping(house: House, folder: Path) -> AsyncIterator[str]:
    """A Prometheus that scrapes the gateway five times a second; yields where it is asked."""
    config = yaml.safe_load((RULES / "prometheus.yml").read_text("utf-8"))
    config["global"] = {"scrape_interval": "200ms", "evaluation_interval": "200ms"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"{LOOPBACK}:{house.admin.port}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    shutil.copy(RULES / "gateway.rules.yml", folder)
    port = free_port()
    with (folder / "said").open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            program("prometheus"),
            "--config.file=prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={LOOPBACK}:{port}",
            cwd=folder,
            stdout=said,
            stderr=said,
        )
    try:
        yield f"http://{LOOPBACK}:{port}/api/v1/query"
    finally:
        process.terminate()
        await process.wait()


async def asked(http: aiohttp.ClientSession, url: str, expression: str) -> list[dict[str, Any]]:
    async with http.post(url, data={"query": expression}) as reply:
        told = await reply.json()
    assert told["status"] == "success", f"{expression}: {told}"
    return list(told["data"]["result"])


async def until_found(http: aiohttp.ClientSession, url: str, expression: str) -> None:
    for _ in range(_PATIENCE):
        try:
            if await asked(http, url, expression):
                return
        except (aiohttp.ClientError, AssertionError):  # it is starting
            pass
        await asyncio.sleep(0.05)
    pytest.fail(f"nothing is found by {expression}")


@pytest.mark.timeout(60)
async def test_every_panel_and_every_alert_asks_for_what_a_running_gateway_tells(
    built: OpenHouse, tmp_path: Path
) -> None:
    program("prometheus")
    async with (
        built(routes=LIMITED, top=TOP) as house,
        two_streams(house),
        aiohttp.ClientSession() as http,
    ):
        await traffic(house)
        house.emulator.fault("refresh", status=429, headers={"Retry-After": "60"})
        await house.get("/app", cookies={"DSR": house.cookies("bob@example.com")["DSR"]})
        async with scraping(house, tmp_path) as url:
            await until_found(http, url, "rate(gateway_requests_total[1m])")
            house.emulator.clear_faults()
            await traffic(house)
            await until_found(http, url, "sum(rate(gateway_requests_total[1m])) > 0")
            empty = []
            for title, expression, legend in panels():
                found = await asked(http, url, expression)
                numbers = [float(one["value"][1]) for one in found]
                wanted = set(re.findall(r"{{(\w+)}}", legend))
                if not found or any(map(math.isnan, numbers)) or any(wanted - set(one["metric"]) for one in found):
                    empty.append((title, expression, found))
            assert empty == []
            told = await names_and_labels(house)
            for group in rules():
                for rule in group["rules"]:
                    await asked(http, url, rule["expr"])
                    assert unknown_in(rule["expr"], told) == [], rule["alert"]


async def names_and_labels(house: House) -> dict[str, set[str]]:
    """What is scraped: labels by metric; Prometheus adds those that it knows a target by."""
    async with house.http.get(house.admin / "metrics") as reply:
        text = await reply.text()
    found: dict[str, set[str]] = {"up": {"job", "instance"}}
    for name, labels in re.findall(r"^(\w+)(?:{(.*)})? ", text, re.MULTILINE):
        found.setdefault(name, {"job", "instance"}).update(re.findall(r'(\w+)="', labels))
    return found


def unknown_in(expression: str, told: dict[str, set[str]]) -> list[str]:
    """Metrics, and labels that are matched or summed by, which nothing tells."""
    metrics = re.findall(r"\b(gateway_\w+|up)\b", expression)
    known = set().union(*(told.get(name, set()) for name in metrics)) | {"le"}
    matched = re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', expression)
    grouped = [label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in re.split(r",\s*", group)]
    return [name for name in metrics if name not in told] + [name for name in matched + grouped if name not in known]
