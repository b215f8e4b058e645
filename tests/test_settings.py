"""Settings come from options and the environment, and every wrong one is named with its remedy."""

import os
from pathlib import Path

import pytest

from gateway.core.errors import ConfigError
from gateway.settings import Listen, Settings, parse_listen, read_settings, usable_cores


def test_nothing_said_gives_loopback_and_json() -> None:
    assert read_settings({}, {}) == Settings(None, Listen("127.0.0.1", 8080), Listen("127.0.0.1", 9090), "json")


def test_the_environment_is_read() -> None:
    environment = {
        "GATEWAY_CONFIG": "/etc/gateway/routes.yaml",
        "GATEWAY_LISTEN": "0.0.0.0:80",
        "GATEWAY_ADMIN": "[::1]:9000",
        "GATEWAY_LOG": "text",
        "GATEWAY_PORT": "tcp://10.0.0.1:80",  # what Kubernetes adds for a service called gateway
    }

    assert read_settings(environment, {}) == Settings(
        Path("/etc/gateway/routes.yaml"), Listen("0.0.0.0", 80), Listen("::1", 9000), "text"
    )


def test_options_win_over_the_environment() -> None:
    settings = read_settings(
        {"GATEWAY_LISTEN": "nonsense", "GATEWAY_LOG": "off"},
        {"listen": "127.0.0.1:1", "config": "here.yaml", "admin": None, "log": None},
    )

    assert settings == Settings(Path("here.yaml"), Listen("127.0.0.1", 1), Listen("127.0.0.1", 9090), "off")


def test_an_empty_variable_counts_as_absent() -> None:
    assert read_settings({"GATEWAY_LISTEN": "", "GATEWAY_CONFIG": ""}, {}) == read_settings({}, {})


def test_every_problem_is_named() -> None:
    with pytest.raises(ConfigError) as failed:
        read_settings({"GATEWAY_LOG": "jsn", "GATEWAY_ADMIN": "9090"}, {"listen": "x:y"})

    assert len(failed.value.problems) == 3
    told = str(failed.value)
    assert "GATEWAY_LOG: 'jsn'" in told
    assert "did you mean json?" in told
    assert "GATEWAY_ADMIN: '9090' has no port" in told
    assert "--listen: 'x:y'" in told


def test_one_address_cannot_serve_both_listeners() -> None:
    with pytest.raises(ConfigError, match=r"both 127\.0\.0\.1:7000"):
        read_settings({}, {"listen": "127.0.0.1:7000", "admin": "127.0.0.1:7000"})


def test_the_system_may_choose_both_ports() -> None:
    settings = read_settings({}, {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"})

    assert settings.listen == settings.admin == ("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        pytest.param("127.0.0.1:8080", "127.0.0.1", 8080, id="IPv4"),
        pytest.param("[::1]:8080", "::1", 8080, id="IPv6"),
        pytest.param("localhost:0", "localhost", 0, id="a name, any port"),
        pytest.param("my-host.internal:65535", "my-host.internal", 65535, id="the highest port"),
    ],
)
def test_an_address_is_read_and_spelt_alike(text: str, host: str, port: int) -> None:
    assert parse_listen(text) == (host, port)
    assert str(parse_listen(text)) == text


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        pytest.param("", "has no port", id="empty"),
        pytest.param("127.0.0.1", "127.0.0.1:8080", id="no port"),
        pytest.param(":8080", "0.0.0.0:8080 for every interface", id="no host"),
        pytest.param("127.0.0.1:65536", "0 to 65535", id="a port too high"),
        pytest.param("127.0.0.1:-1", "0 to 65535", id="a port below nothing"),
        pytest.param("127.0.0.1:٣", "0 to 65535", id="digits of another script"),
        pytest.param("127.0.0.1:http", "0 to 65535", id="a port by name"),
        pytest.param("::1:8080", "in brackets", id="IPv6 without brackets"),
        pytest.param("[127.0.0.1]:80", "IPv6 address", id="IPv4 in brackets"),
        pytest.param("[::g]:80", "IPv6 address", id="no address in brackets"),
        pytest.param("300.1.1.1:80", "neither an IP address nor a host name", id="no IPv4 address"),
        pytest.param("http://x:80", "in brackets", id="a URL"),
        pytest.param("a b:80", "neither", id="a blank"),
        pytest.param("unix:/run/x.sock", "127.0.0.1:8080", id="a Unix socket"),
    ],
)
def test_what_is_no_address_is_told_with_the_remedy(text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy.replace(".", r"\.").replace("[", r"\[")):
        parse_listen(text)


def test_a_file_name_with_nul_is_told() -> None:
    with pytest.raises(ConfigError, match="--config"):
        read_settings({}, {"config": "a\0b"})


@pytest.mark.parametrize(
    ("environment", "option", "expected"),
    [
        pytest.param({}, None, 1, id="nothing said"),
        pytest.param({"GATEWAY_WORKERS": "3"}, None, 3, id="a number in the environment"),
        pytest.param({"GATEWAY_WORKERS": "3"}, "64", 64, id="an option wins, up to the most there may be"),
        pytest.param({"GATEWAY_WORKERS": "nonsense"}, "1", 1, id="one by option"),
        pytest.param({"GATEWAY_WORKERS": "auto"}, None, 6, id="one on each core"),
        pytest.param({}, "40", 40, id="more than there are cores"),
    ],
)
def test_workers_are_a_number_or_one_on_each_core(
    environment: dict[str, str], option: str | None, expected: int
) -> None:
    assert read_settings(environment, {"workers": option}, cores=lambda: 6).workers == expected


@pytest.mark.parametrize(
    ("cores", "expected"), [pytest.param(200, 64, id="a large machine"), pytest.param(0, 1, id="none that is told")]
)
def test_auto_stays_within_what_a_number_may_be(cores: int, expected: int) -> None:
    assert read_settings({}, {"workers": "auto"}, cores=lambda: cores).workers == expected


def test_the_cores_that_count_are_those_that_this_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        cores = usable_cores()
    finally:
        os.sched_setaffinity(0, allowed)

    assert cores == 1
    assert usable_cores() == len(allowed)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("0", id="none"),
        pytest.param("-1", id="fewer than none"),
        pytest.param("+2", id="a sign"),
        pytest.param("1.5", id="a part of one"),
        pytest.param("x", id="a letter"),
        pytest.param("65", id="one too many"),
        pytest.param("10000", id="far too many"),
        pytest.param("9" * 5000, id="more digits than a number may have"),
        pytest.param("٣", id="digits of another script"),
        pytest.param(" 2", id="a blank"),
        pytest.param("AUTO", id="auto in capitals"),
    ],
)
def test_a_number_of_workers_that_makes_no_sense_is_told_with_the_remedy(text: str) -> None:
    with pytest.raises(ConfigError) as failed:
        read_settings({"GATEWAY_WORKERS": text}, {}, cores=lambda: 2)

    [problem] = failed.value.problems
    assert problem.startswith(f"GATEWAY_WORKERS: {ascii(text)[:20]}")
    assert "a whole number from 1 to 64, or auto for one on each core" in problem
    assert len(problem) < 250
    assert ("did you mean auto?" in problem) == (text == "AUTO")
