"""What the route file says of upstreams' targets, pools, checks and repeats."""

from textwrap import dedent

import pytest

from gateway.core.errors import ConfigError
from gateway.core.model import (
    ConnectionRules,
    EjectRules,
    HealthRules,
    RetryRules,
    ServiceTarget,
    TlsRules,
    Upstream,
)
from gateway.routefile import Config, parse

FILE = """
version: 1
descope: {{project_id: P2demo0000000000000000000000}}
server: {{public_urls: ["https://app.example.com"]}}
upstreams:
  legacy: {legacy}
routes: [{{id: all, match: {{path: "/**"}}, upstream: legacy}}]
"""


def read(legacy: str) -> Config:
    return parse(dedent(FILE).format(legacy=legacy), "routes.yaml", {})


def problems(legacy: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as told:
        read(legacy)
    return told.value.problems


def test_an_upstream_with_every_key_is_read() -> None:
    (upstream,) = read("""{
        urls: ["http://10.0.0.1:9000/app", "http://[fd00::1]:9000/app/"],
        connections: {max: 20, queue: 5, wait: 500ms, keep_alive: 1m},
        health: {path: "/healthz?full=1", interval: 5s, timeout: 1s, healthy_after: 1, unhealthy_after: 2,
                 expect: 200-399},
        eject: {after: 3, for: 30s},
        retry: {budget: 10%, floor: 3},
    }""").upstreams

    assert upstream == Upstream(
        name="legacy",
        authority="10.0.0.1:9000",
        address="10.0.0.1",
        port=9000,
        base_path="/app",
        others=(ServiceTarget("fd00::1", 9000),),
        connections=ConnectionRules(20, 5, 0.5, 60.0),
        health=HealthRules("/healthz?full=1", 5.0, 1.0, 1, 2, 200, 399),
        eject=EjectRules(3, 30.0),
        retry=RetryRules(0.1, 3),
    )
    assert [target.name for target in upstream.targets] == ["10.0.0.1:9000", "[fd00::1]:9000"]


def test_an_upstream_that_says_nothing_has_the_documented_defaults() -> None:
    (upstream,) = read('{url: "http://10.0.0.1:9000"}').upstreams

    assert upstream.connections == ConnectionRules(most=1024, queue=1024, wait_s=2.0, keep_alive_s=15.0)
    assert upstream.health is None
    assert upstream.eject == EjectRules(after=5, for_s=10.0)
    assert upstream.retry == RetryRules(share=0.2, floor=10)
    assert upstream.tls_rules == TlsRules()


def test_checks_that_say_only_their_path_have_the_documented_defaults() -> None:
    (upstream,) = read('{url: "http://10.0.0.1:9000", health: {path: /healthz}}').upstreams

    assert upstream.health == HealthRules("/healthz", 10.0, 2.0, 2, 3, 200, 299)


@pytest.mark.parametrize(
    ("written", "lowest", "highest"), [("204", 204, 204), ('"204"', 204, 204), ("200-404", 200, 404)]
)
def test_a_good_answer_is_a_status_or_a_range(written: str, lowest: int, highest: int) -> None:
    (upstream,) = read(f'{{url: "http://a", health: {{path: /h, expect: {written}}}}}').upstreams

    assert upstream.health is not None
    assert (upstream.health.lowest, upstream.health.highest) == (lowest, highest)


def test_several_unix_sockets_are_targets() -> None:
    (upstream,) = read('{urls: ["unix:/run/one.sock", "unix:/run/two.sock"]}').upstreams

    assert [target.name for target in upstream.targets] == ["unix:/run/one.sock", "unix:/run/two.sock"]


@pytest.mark.parametrize(
    ("legacy", "words"),
    [
        pytest.param("{host: upstream}", ["legacy: ", "`url` is missing", "`urls`"], id="no target"),
        pytest.param('{url: "http://a", urls: ["http://b"]}', ["legacy.urls", "keep one"], id="url and urls"),
        pytest.param("{urls: []}", ["legacy.urls", "at least one"], id="an empty list"),
        pytest.param(
            '{urls: ["http://a", "https://b"]}',
            ["legacy.urls[1]", "this is https, and the first is http;"],
            id="schemes",
        ),
        pytest.param(
            '{urls: ["http://a", "unix:/run/app.sock"]}', ["legacy.urls[1]", "this is unix"], id="a socket among hosts"
        ),
        pytest.param(
            '{urls: ["http://a/v1", "http://b/v2"]}', ["legacy.urls[1]", "/v2", "/v1", "one path"], id="paths"
        ),
        pytest.param('{urls: ["http://a", "http://A:80/"]}', ["legacy.urls[1]", "stands here already"], id="twice"),
        pytest.param('{urls: ["http://a", "b:80"]}', ["legacy.urls[1]", "http or https"], id="no URL among them"),
        pytest.param('{url: "http://a", connections: {max: 0}}', ["connections.max", "greater than"], id="none"),
        pytest.param('{url: "http://a", connections: {wait: 0s}}', ["connections.wait", "1ms"], id="no wait"),
        pytest.param('{url: "http://a", connections: {mx: 3}}', ["'mx'", "'max'"], id="a key of connections"),
        pytest.param('{url: "http://a", health: {}}', ["health.path", "missing"], id="checks without a path"),
        pytest.param('{url: "http://a", health: {path: healthz}}', ["health.path", "slash"], id="no slash"),
        pytest.param('{url: "http://a", health: {path: "/a b"}}', ["health.path", "blanks"], id="a blank in a path"),
        pytest.param('{url: "http://a", health: {path: /h, expect: 2xx}}', ["expect", "200-399"], id="no status"),
        pytest.param(
            '{url: "http://a", health: {path: /h, expect: 399-200}}', ["expect", "first"], id="a range backwards"
        ),
        pytest.param('{url: "http://a", health: {path: /h, expect: 101}}', ["expect", "200 to 599"], id="interim"),
        pytest.param('{url: "http://a", eject: {for: 0s}}', ["eject.for", "1ms"], id="out for no time"),
        pytest.param('{url: "http://a", retry: {budget: 0.2}}', ["retry.budget", "20%"], id="a share without its sign"),
        pytest.param('{url: "http://a", retry: {budget: 101%}}', ["retry.budget", "0 to 100"], id="more than all"),
    ],
)
def test_a_mistake_about_an_upstream_is_told_once(legacy: str, words: list[str]) -> None:
    (problem,) = problems(legacy)

    assert [word for word in words if word not in problem] == []
    assert problem.startswith("routes.yaml:6:")


def test_a_misspelt_url_is_told_as_such_and_not_as_missing() -> None:
    (problem,) = problems('{ulr: "http://a"}')

    assert "did you mean 'url'" in problem


@pytest.mark.parametrize(
    ("legacy", "words"),
    [
        pytest.param(
            '{url: "http://a", eject: {after: 3}}', ["legacy.eject", "only target"], id="ejecting the only one"
        ),
        pytest.param(
            '{urls: ["http://a", "http://b"], eject: {after: 0, for: 5s}}', ["eject.for", "changes nothing"], id="never"
        ),
        pytest.param(
            '{url: "http://a", connections: {queue: 0, wait: 1s}}',
            ["connections.wait", "changes nothing"],
            id="no queue",
        ),
        pytest.param('{url: "http://a", connections: {wait: 5m}}', ["connections.wait", "give up"], id="a long wait"),
        pytest.param(
            '{url: "http://a", health: {path: /h, interval: 1s}}', ["health.interval", "longer"], id="a short interval"
        ),
        pytest.param(
            '{url: "http://a", health: {path: /h, timeout: 1m}}', ["health.timeout", "longer"], id="a long timeout"
        ),
        pytest.param('{url: "http://a", retry: {budget: 100%}}', ["retry.budget", "double"], id="repeating everything"),
    ],
)
def test_what_is_useless_about_an_upstream_is_a_warning(legacy: str, words: list[str]) -> None:
    (warning,) = read(legacy).warnings

    assert [word for word in words if word not in warning] == []


def test_a_usual_upstream_gets_no_warning() -> None:
    assert read('{urls: ["http://a", "http://b"], health: {path: /h}, connections: {max: 9}}').warnings == ()
