"""What another route file would decide differently: each way in which a route can open, close or change is found."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.compare import Change, Difference, differences
from gateway.routefile import Config, parse

FILE = """
version: 1
descope: {project_id: P2demo0000000000000000000000}
server: {public_urls: ["https://app.example.com"]}
upstreams: {a: {url: "http://127.0.0.1:9"}, b: {url: "http://127.0.0.1:8"}}
limits: {few: {rate: 2/h, per: client}}
routes:
%s
"""
SESSION = '- {id: it, match: {path: "/x"}, upstream: a}'


def read(routes: str) -> Config:
    return parse(FILE % routes, "routes.yaml", {})


def found(before: str, after: str) -> tuple[Difference, ...]:
    return differences(read(before), read(after))


def with_(more: str, path: str = "/x") -> str:
    return f'- {{id: it, match: {{path: "{path}"}}, {more}, upstream: a}}'


@pytest.mark.parametrize(
    ("before", "after", "change", "was", "is_"),
    [
        (SESSION, with_("auth: public"), Change.OPEN, "401 no_credentials", "200 to a"),
        (SESSION, with_("auth: any"), Change.OPEN, "403 wrong_credential_kind", "200 to a"),
        (SESSION, with_("auth: optional"), Change.OPEN, "401 no_credentials", "200 to a"),
        (with_("require: {roles: {any: [r]}}"), SESSION, Change.OPEN, "403 role_missing", "200 to a"),
        (
            with_("require: {roles: {any: [r]}}"),
            with_("require: {roles: {any: [r, s]}}"),
            Change.OPEN,
            "403 role_missing",
            "200 to a",
        ),
        (
            with_("require: {roles: {any: [r]}}"),
            with_("require: {roles: {any: [s]}}"),
            Change.CLOSED,
            "200 to a",
            "403 role_missing",
        ),
        (SESSION, with_("require: {permissions: {all: [p]}}"), Change.CLOSED, "200 to a", "403 permission_missing"),
        (SESSION, with_("require: {claims: {plan: {any: [pro]}}}"), Change.CLOSED, "200 to a", "403 claim_mismatch"),
        (SESSION, with_("require: {tenant: acme}"), Change.CLOSED, "200 to a", "403 tenant_mismatch"),
        (SESSION, with_("require: {tenant: selected}"), Change.CLOSED, "200 to a", "403 tenant_mismatch"),
        (
            with_('require: {tenant: "{path.t}"}', "/t/{t}"),
            with_('require: {tenant: "{path.t}", roles: {any: [r]}}', "/t/{t}"),
            Change.CLOSED,
            "200 to a",
            "403 role_missing",
        ),
        (
            with_("auth: access_key"),
            with_("auth: access_key, require: {key_ids: [K2a]}"),
            Change.CLOSED,
            "200 to a",
            "403 key_not_allowed",
        ),
        (SESSION, with_("require: {clients: [10.0.0.0/8]}"), Change.CLOSED, "200 to a", "403 client_not_allowed"),
        (SESSION, SESSION.replace("upstream: a", "upstream: b"), Change.OTHER, "200 to a", "200 to b"),
        (
            with_("auth: public", "/p/**"),
            with_("auth: public, rewrite: {strip_prefix: /p}", "/p/**"),
            Change.OTHER,
            "200 to a/p/any/any",
            "200 to a/any/any",
        ),
        (SESSION + "\n" + SESSION.replace("it", "gone").replace("/x", "/y"), SESSION, Change.CLOSED, "200 to a", "404"),
        (
            with_("auth: public"),
            '- {id: it, match: {path: "/x", methods: [GET]}, auth: public, upstream: a}',
            Change.CLOSED,
            "200 to a",
            "405 method_not_allowed",
        ),
        (SESSION, with_("require: {roles: {any: [r]}}").replace("it", "other"), Change.CLOSED, "200 to a", "403"),
    ],
    ids=[
        "public",
        "either kind",
        "optional",
        "a role less",
        "a role more to choose from",
        "another role",
        "a permission",
        "a claim",
        "a tenant",
        "a selected tenant",
        "a role inside a tenant",
        "certain keys",
        "certain clients",
        "another upstream",
        "another path",
        "a route that has gone",
        "a method that has gone",
        "another name",
    ],
)
def test_a_change_is_found_with_what_was_and_what_is(
    before: str, after: str, change: Change, was: str, is_: str
) -> None:
    told = found(before, after)

    assert any(
        one.change is change and one.before[0].startswith(was) and one.after[0].startswith(is_) for one in told
    ), told


@pytest.mark.parametrize(
    "after",
    [SESSION, SESSION.replace("it", "renamed"), SESSION.replace("upstream: a", "limit: [few], upstream: a")],
    ids=["the same", "another name", "a limit"],
)
def test_what_is_decided_the_same_is_not_told(after: str) -> None:
    assert found(SESSION, after) == ()


def test_a_wider_pattern_opens_only_what_the_narrower_does_not_keep() -> None:
    narrow = '- {id: admin, match: {path: "/admin/**"}, require: {roles: {any: [admin]}}, upstream: a}'
    wide = '- {id: rest, match: {path: "/**"}, auth: public, upstream: a}'
    told = found(narrow, f"{narrow}\n{wide}")

    assert {one.change for one in told} == {Change.OPEN}
    assert not any("/admin" in request for one in told for request in one.requests)


def test_who_and_what_change_alike_are_told_of_together() -> None:
    [one] = found(with_("auth: public", "/p/**"), with_("auth: public", "/p/**").replace("upstream: a", "upstream: b"))

    assert one.requests == ("GET POST /p", "GET POST /p/any/any")
    assert len(one.callers) == 3


def test_hosts_of_patterns_are_asked_for() -> None:
    host = '- {id: it, match: {path: "/x", host: "*.example.com"}, upstream: a}'
    told = found(host, host.replace("upstream", "auth: public, upstream"))

    assert "GET POST any.example.com/x" in told[0].requests


def test_the_command_tells_what_opens_and_what_needs_a_restart(tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(FILE % SESSION)
    new.write_text(FILE % with_("auth: public") + "refresh: {grace: 5s}\n")

    ran = [
        subprocess.run(
            [sys.executable, "-m", "gateway", "diff", str(old), str(other)], capture_output=True, text=True, check=False
        )
        for other in (old, new, tmp_path / "none.yaml")
    ]

    assert [one.returncode for one in ran] == [0, 1, 1]
    assert ran[0].stdout == "no request among the examples is decided differently\n"
    lines = ["newly open", "    GET POST /x", "    was  401 no_credentials  by it", "    is   200 to a  by it"]
    assert "\n".join(lines) in ran[1].stdout
    assert "needs a restart: refresh" in ran[1].stdout
    assert "none.yaml: the route file cannot be read" in ran[2].stderr
