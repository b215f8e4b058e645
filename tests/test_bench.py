"""The bench's own arithmetic, parsing, tokens and configurations. Nothing is measured here, and no peer is started."""

import json
import random
import time
from pathlib import Path

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa

from bench import measure, tokens
from bench.errors import BenchError
from bench.load import Asked, Outcome, parse_wrk, together, write_requests
from bench.peer import GATEWAY, PEERS_BY_ID, PLAIN, Place, upstream
from bench.report import Circumstances, document, tables
from bench.results import Results, Sample, percentile, ratio
from bench.rounds import naming, require
from bench.setup import Tools
from bench.streams import echoed, frame
from bench.targets import verdicts
from gateway.routefile import parse

REPORT = """Running 3s test @ http://127.0.0.1:9101/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.84ms    1.31ms  31.09ms   93.23%
    Req/Sec    19.06k     4.47k   22.68k    84.29%
  Latency Distribution
     50%  640.00us
     75%    1.02ms
     90%    1.50ms
     99%    1.20s
  132604 requests in 7.01s, 30.54MB read
"""
RATE = "Requests/sec:  18927.58\nTransfer/sec:      4.36MB\n"


def sample(cpu_us: float) -> Sample:
    return Sample(cpu_us=cpu_us, rate=1_000.0, p50_ms=1.0, p99_ms=2.0, peak_bytes=1_048_576)


def place(folder: Path, *, log: bool = False, routes: int = 0) -> Place:
    tools = Tools("nginx", "haproxy", "wrk", "envoy", "go-proxy", "python", "go1")
    keys = {"jwks": folder / "jwks.json", "pem": folder / "public.pem"}
    ports = {
        "port": 9001,
        "cookie_port": 9002,
        "inner_port": 9003,
        "admin_port": 9004,
        "upstream": 9005,
        "descope": 9006,
    }
    return Place(id="p1", folder=folder, tools=tools, log=log, routes=routes, **keys, **ports)  # type: ignore[arg-type]


# --- wrk's report ---------------------------------------------------------------------------------------------------


def test_a_report_of_wrk_is_read_with_its_units() -> None:
    outcome = parse_wrk(REPORT + RATE)

    assert outcome == Outcome(132_604, 18_927.58, 0.64, 1_200.0, not_2xx=0, errors=0)


def test_refusals_and_broken_connections_are_counted() -> None:
    trouble = "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 77\n"

    outcome = parse_wrk(REPORT + trouble + RATE)

    assert (outcome.not_2xx, outcome.errors) == (77, 10)


def test_loads_at_the_same_time_add_up_and_the_worst_latency_counts() -> None:
    one, other = Outcome(100, 50.0, 1.0, 9.0, not_2xx=1, errors=2), Outcome(200, 70.0, 3.0, 4.0, not_2xx=3, errors=4)

    assert together([one, other]) == Outcome(300, 120.0, 3.0, 9.0, not_2xx=4, errors=6)


@pytest.mark.parametrize(
    "text", ["", REPORT, RATE, "unable to connect"], ids=["empty", "no rate", "no count", "failed"]
)
def test_what_is_no_report_is_an_error(text: str) -> None:
    with pytest.raises(BenchError, match="cannot be read"):
        parse_wrk(text)


def test_each_request_is_a_line_of_four_fields(tmp_path: Path) -> None:
    asked = [Asked("/a", ("Cookie", "DS=x"), "h1.example.com"), Asked("/b")]

    lines = write_requests(tmp_path / "requests", asked).read_text("ascii").splitlines()

    assert [line.split("\t") for line in lines] == [["/a", "h1.example.com", "Cookie", "DS=x"], ["/b", "", "", ""]]


@pytest.mark.parametrize(
    ("refused", "not_2xx", "errors", "requests"),
    [(False, 1, 0, 100), (True, 99, 0, 100), (False, 0, 1, 100), (True, 0, 0, 0)],
    ids=["one refused", "one admitted", "one broken", "none answered"],
)
def test_one_wrong_reply_makes_the_run_fail(refused: bool, not_2xx: int, errors: int, requests: int) -> None:
    with pytest.raises(BenchError):
        require(Outcome(requests, 1.0, 1.0, 1.0, not_2xx, errors), refused)


@pytest.mark.parametrize(("refused", "not_2xx"), [(False, 0), (True, 100)], ids=["all admitted", "all refused"])
def test_the_replies_that_are_expected_count(refused: bool, not_2xx: int) -> None:
    require(Outcome(100, 1.0, 1.0, 1.0, not_2xx, errors=0), refused)


def test_what_fails_is_told_with_the_peers_name() -> None:
    with pytest.raises(BenchError, match="HAProxy `jwt_verify`: connection refused"), naming(PEERS_BY_ID["haproxy"]):
        raise OSError("connection refused")


# --- arithmetic -----------------------------------------------------------------------------------------------------


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    # The second round was slow for both: the ratio of the medians would be 2.0.
    assert ratio([10.0, 90.0, 20.0], [10.0, 100.0, 10.0]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("ours", "theirs"), [([], [1.0]), ([1.0], []), ([1.0], [0.0])], ids=["ours", "theirs", "nought"]
)
def test_without_both_figures_there_is_no_ratio(ours: list[float], theirs: list[float]) -> None:
    assert ratio(ours, theirs) is None


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([1.0, 2.0, 3.0, 4.0], 0.5, 3.0), ([1.0, 2.0], 0.99, 2.0), ([5.0], 1.0, 5.0), ([], 0.5, 0.0)],
    ids=["middle", "end", "all", "none"],
)
def test_percentiles_are_values_that_occurred(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_memory_is_read_in_bytes_and_a_process_that_is_gone_has_none() -> None:
    status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"

    assert measure.status_bytes(status, "VmHWM") == 2048 * 1024
    assert measure.status_bytes("", "VmRSS") == 0
    assert measure.cpu_s([2**22 + 1]) == 0.0


# --- targets --------------------------------------------------------------------------------------------------------


def target(results: Results, words: str) -> tuple[str, bool | None]:
    (one,) = [verdict for verdict in verdicts(results) if words in verdict.target]
    return one.figure, one.is_met


@pytest.mark.parametrize(("ours", "is_met"), [(39.9, True), (40.0, True), (40.1, False)], ids=["below", "at", "above"])
def test_a_target_is_met_at_and_below_its_ratio(ours: float, is_met: bool) -> None:
    results = Results()
    results.figures["a-bearer"][GATEWAY] = [sample(ours)] * 3
    results.figures["a-bearer"]["fastapi"] = [sample(200.0)] * 3

    assert target(results, "a fifth")[1] is is_met


def test_a_refusal_is_compared_with_our_own_requests_of_the_same_rounds() -> None:
    results = Results()
    results.figures["a-bearer"][GATEWAY] = [sample(10.0)]
    results.figures["c-none"][GATEWAY] = [sample(24.0)]
    results.figures["c-as-a"][GATEWAY] = [sample(40.0)]

    assert target(results, "no token") == ("0.60 (24.0 to 40.0 us)", True)


def test_a_bound_is_met_below_it_only() -> None:
    results = Results()
    results.numbers["idle"][GATEWAY] = [20 * 1024.0]

    assert target(results, "idle connection") == ("20.0 KiB", False)


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    found = list(verdicts(Results()))

    assert len(found) >= 19
    assert {verdict.word for verdict in found} == {"not measured"}


def test_the_report_has_every_peer_its_ratios_and_its_log() -> None:
    results = Results()
    for number, peer in enumerate(PEERS_BY_ID, 1):
        results.figures["a-bearer"][peer] = [sample(10.0 * number)] * 3
        results.figures["a-bearer-log"][peer] = [sample(20.0 * number)] * 3

    text = document(results, Circumstances("2026-01-01", {"processor": "x"}, {"nginx": "1"}, "all"))

    assert all(peer.title in text for peer in PEERS_BY_ID.values())
    haproxy = next(line for line in text.splitlines() if line.startswith("| HAProxy `jwt_verify` |"))
    assert "| 30.0 (30.0-30.0) | 3.00 | 0.33 | 60.0 (60.0-60.0) | 3.00 | 0.33 |" in haproxy


def test_every_table_has_as_many_cells_in_each_line() -> None:
    results = Results()
    for row in ("a-bearer", "a-cookie", "b", "c-none", "d", "d-as-a", "e-up-64", "f-64", "h-10", "i"):
        results.figures[row][GATEWAY] = [sample(10.0)]
    for row in ("idle", "growth-down", "growth-up", "start", "resident"):
        results.numbers[row][GATEWAY] = [1.0]

    for table in tables(results):
        assert len({line.count("|") for line in table.splitlines()}) == 1


# --- tokens ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def test_a_token_is_genuine_and_about_900_bytes(key: rsa.RSAPrivateKey) -> None:
    now_s = int(time.time())

    token = tokens.signed(tokens.claims(7, now_s, now_s + 60), "k1", key)

    said = jwt.decode(token, key.public_key(), algorithms=["RS256"], issuer=tokens.ISSUER)
    assert said["sub"] == tokens.subject(7)
    assert 800 <= len(token) <= 1_000


def test_a_forged_token_differs_in_its_signature_alone(key: rsa.RSAPrivateKey) -> None:
    now_s = int(time.time())
    token = tokens.signed(tokens.claims(7, now_s, now_s + 60), "k1", key)

    forged = tokens.forged(token, random.Random(1))

    assert (forged.rsplit(".", 1)[0], len(forged)) == (token.rsplit(".", 1)[0], len(token))
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(forged, key.public_key(), algorithms=["RS256"], issuer=tokens.ISSUER)


def test_tokens_that_are_too_few_or_too_old_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / "made.json").write_text(json.dumps({"at_s": time.time(), "fresh": 10}), "ascii")

    assert tokens.is_usable(tmp_path, 10)
    assert not tokens.is_usable(tmp_path, 11)
    (tmp_path / "made.json").write_text(json.dumps({"at_s": time.time() - 6 * 86_400, "fresh": 10}), "ascii")
    assert not tokens.is_usable(tmp_path, 10)
    assert not tokens.is_usable(tmp_path / "nowhere", 0)


# --- configurations -------------------------------------------------------------------------------------------------


def told(folder: Path, peer: str, *, log: bool) -> str:
    """All that a peer is told: command lines, environment, files."""
    programs = PEERS_BY_ID[peer].programs(place(folder, log=log))
    return "\n".join([str(programs), *(file.read_text("utf-8") for file in sorted(folder.iterdir()))])


@pytest.mark.parametrize("peer", PEERS_BY_ID)
def test_every_peer_is_told_where_to_listen_and_where_to_forward(peer: str, tmp_path: Path) -> None:
    words = told(tmp_path, peer, log=False)

    assert "9001" in words
    assert "9005" in words
    assert "{{" not in words


@pytest.mark.parametrize("peer", PEERS_BY_ID)
def test_every_peer_can_be_told_to_log(peer: str, tmp_path: Path) -> None:
    assert told(tmp_path, peer, log=True) != told(tmp_path, peer, log=False)


def test_envoy_is_configured_in_yaml_with_and_without_its_cache(tmp_path: Path) -> None:
    texts = {}
    for peer in ("envoy", "envoy-cache"):
        PEERS_BY_ID[peer].programs(place(tmp_path, log=True))
        texts[peer] = (tmp_path / "p1.envoy.yaml").read_text("utf-8")
        assert len(yaml.safe_load(texts[peer])["static_resources"]["listeners"]) == 2

    assert "jwt_cache_size" in texts["envoy-cache"]
    assert "jwt_cache_size" not in texts["envoy"]


def test_haproxy_checks_issuer_and_expiry_unless_it_is_the_bare_one(tmp_path: Path) -> None:
    texts = {}
    for peer in ("haproxy", "haproxy-bare"):
        PEERS_BY_ID[peer].programs(place(tmp_path))
        texts[peer] = (tmp_path / "p1.haproxy.cfg").read_text("utf-8")

    assert all("jwt_verify" in text for text in texts.values())
    assert "$.exp" in texts["haproxy"]
    assert "$.exp" not in texts["haproxy-bare"]


@pytest.mark.parametrize("routes", [0, 10, 200], ids=["the usual", "ten", "many"])
def test_the_route_files_of_the_gateway_are_good(routes: int, tmp_path: Path) -> None:
    PEERS_BY_ID[GATEWAY].programs(place(tmp_path, routes=routes))

    config = parse((tmp_path / "p1.routes.yaml").read_text("utf-8"), "routes.yaml", {})

    assert config.tokens.project_id == tokens.PROJECT


def test_the_upstream_answers_as_descope_too(tmp_path: Path) -> None:
    upstream(place(tmp_path), tmp_path / "files", "a.session.jwt")

    text = (tmp_path / "p1.upstream.nginx.conf").read_text("utf-8")
    assert f"/v2/keys/{tokens.PROJECT}" in text
    assert "a.session.jwt" in text


def test_nobody_but_nginx_goes_without_checks() -> None:
    assert [peer.id for peer in PEERS_BY_ID.values() if not peer.checks] == [PLAIN]


# --- WebSocket frames -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (64, b"\x82\x40"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65_536, b"\x82\x7f" + bytes(5) + b"\x01\x00\x00"),
    ],
    ids=["small", "largest short", "smallest medium", "64 KiB"],
)
def test_frames_spell_their_length_as_the_rules_say(size: int, head: bytes) -> None:
    payload = bytes(size)

    assert echoed(payload) == head + payload
    assert frame(payload) == bytes((head[0], head[1] | 0x80)) + head[2:] + bytes(4) + payload
