"""How the pages look, as far as no browser is needed: brand, replaced templates, what the route file may say."""

from pathlib import Path

import pytest

from gateway.core.errors import ConfigError
from gateway.core.signin import TEXTS
from gateway.doors.look import DARK_PAPER, LIGHT_PAPER, contrast, plain_look
from gateway.routefile import parse
from tests.conftest import House, OpenHouse


def test_links_are_judged_on_the_paper_that_they_are_written_on() -> None:
    style = plain_look().style.decode()

    assert f"--paper: {LIGHT_PAPER};" in style
    assert f"--paper: {DARK_PAPER};" in style


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("#000", "#fff", 21.0), ("#ffffff", "#ffffff", 1.0), ("#777777", "#ffffff", 4.48)],
    ids=["black on white", "white on white", "grey on white"],
)
def test_contrast_is_that_of_the_guidelines(one: str, other: str, expected: float) -> None:
    assert contrast(one, other) == pytest.approx(expected, abs=0.01)


# --- replaced templates -----------------------------------------------------------------------------------------------


async def test_a_folder_takes_the_place_of_templates_and_ours_extend_theirs(built: OpenHouse, tmp_path: Path) -> None:
    base = (
        '{% extends "ours/base.html" %}{% block main %}<p>Welcome</p>{{ super() }}{% endblock %}'
        '{% block head %}<meta name="theme-color" content="#fff">{% endblock %}'
    )
    (tmp_path / "base.html").write_text(base)
    (tmp_path / "signed_out.html").write_text(
        '{% extends "base.html" %}{% block main %}Bye & {{ say("sign_in") }}{% endblock %}'
    )
    async with built(top=f"login: {{brand: {{templates: {tmp_path}}}}}") as house:
        login = await house.get("/.auth/login", headers={"Accept": "text/html"})
        out = await house.send("POST", "/.auth/logout", headers={"Accept": "text/html"})

        assert "theme-color" in login.text
        assert 'name="password"' in login.text
        assert "Bye & Sign in" in out.text


async def test_a_template_that_fails_gives_way_to_ours(built: OpenHouse, tmp_path: Path) -> None:
    (tmp_path / "login.html").write_text("{{ nobody.gave.this }}")
    async with built(top=f"login: {{brand: {{templates: {tmp_path}}}}}") as house:
        login = await house.get("/.auth/login", headers={"Accept": "text/html"})

        assert (login.status, 'name="password"' in login.text) == (200, True)


# --- what the route file may say --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("brand", "problem"),
    [
        pytest.param("texts: {sing_in: x}", "texts has no sing_in; did you mean sign_in?", id="a near miss"),
        pytest.param("texts: {zzzzzzz: x}", "texts has no zzzzzzz; there are", id="a text that there is not"),
        pytest.param("templates: /does/not/exist", "templates is no folder", id="no folder"),
        pytest.param("templates: FOLDER", "templates: login.html line 2", id="no template"),
        pytest.param("accent: red", "a colour is #", id="no colour"),
    ],
)
def test_a_brand_that_cannot_be_shown_is_a_problem(tmp_path: Path, brand: str, problem: str) -> None:
    (tmp_path / "login.html").write_text("<h1>\n{% if %}")
    text = _ROUTE_FILE + f"login: {{brand: {{{brand.replace('FOLDER', str(tmp_path))}}}}}\n"

    with pytest.raises(ConfigError, match=problem.replace("?", r"\?")):
        parse(text, "test.yaml", {})


_ROUTE_FILE = """
version: 1
descope: {project_id: P2demo0000000000000000000000}
server: {public_urls: ["https://app.example.com"]}
upstreams: {legacy: {url: "http://127.0.0.1:9000"}}
routes: [{id: all, match: {path: "/**"}, upstream: legacy}]
"""


# --- what pages load --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), [("style.css", "text/css"), ("wait.js", "text/javascript")])
async def test_what_pages_load_comes_from_here_with_its_type(house: House, name: str, kind: str) -> None:
    reply = await house.get(f"/.auth/{name}")

    assert (reply.status, reply.media_type, reply.headers["X-Content-Type-Options"]) == (200, kind, "nosniff")
    assert reply.body


async def test_only_a_page_with_a_wait_may_load_a_script(house: House) -> None:
    page = await house.get("/.auth/login", headers={"Accept": "text/html"})
    house.emulator.fault("signin", status=429, headers={"Retry-After": "7"}, times=None)
    fields = {"login_id": "bob@example.com", "password": "bob-demo-password"}
    waiting = await house.send("POST", "/.auth/login", data=fields, headers={"Accept": "text/html"})

    assert "script" not in page.headers["Content-Security-Policy"] + page.text
    assert "script-src 'self'; connect-src 'self'" in waiting.headers["Content-Security-Policy"]
    assert "unsafe" not in waiting.headers["Content-Security-Policy"]
    assert '<script src="/.auth/wait.js" defer></script>' in waiting.text


async def test_pictures_are_loaded_only_where_there_is_a_logo_and_from_here(built: OpenHouse, house: House) -> None:
    async with built(top="login: {brand: {logo: /public/logo.svg}}") as branded:
        page = await branded.get("/.auth/login", headers={"Accept": "text/html"})
    plain = await house.get("/.auth/login", headers={"Accept": "text/html"})

    assert "; img-src 'self'" in page.headers["Content-Security-Policy"]
    assert "img-src" not in plain.headers["Content-Security-Policy"]


def test_every_text_is_documented_and_no_other_is() -> None:
    told = (Path(__file__).parents[2] / "docs" / "pages.md").read_text("utf-8")
    table = told.partition("\n## Texts\n")[2].partition("\n## ")[0]

    assert {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")} == TEXTS.keys()


async def test_t16_pages_tell_nobody_the_address_that_they_were_opened_at(house: House) -> None:
    page = await house.get("/.auth/password/new?t=token", headers={"Accept": "text/html"})

    assert page.headers["Referrer-Policy"] == "strict-origin"
