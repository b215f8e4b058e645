"""The emulator's page in the documentation names all that can be set, made to fail and planted, and nothing else."""

import re
from pathlib import Path

from gateway.emulator import Operation, Seed, Settings
from gateway.emulator.app import all_endpoints
from gateway.emulator.seed import SeedPerson

PAGE = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text("utf-8")


def _section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_every_setting_is_in_the_table_and_no_other_is() -> None:
    rows = [row.split("|")[1] for row in _section("Settings").splitlines() if row.startswith("| `")]

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(Settings.model_fields)


def test_the_defaults_in_the_table_are_those_of_the_settings() -> None:
    for row in _section("Settings").splitlines():
        if not row.startswith("| `"):
            continue
        names, defaults = re.findall(r"`(\w+)`", row.split("|")[1]), row.split("|")[2].replace("`", "").split(",")
        for name, default in zip(names, (defaults * 2)[: len(names)], strict=True):
            shown = str(Settings.model_fields[name].default or "none")
            assert default.strip() == shown.removesuffix(".0"), name


def test_every_operation_is_named() -> None:
    named = set(re.findall(r"`([a-z_]+)`", _section("Faults, clock, keys")))

    assert {one.value for one in Operation} <= named


def test_every_key_of_the_seed_and_of_its_people_is_named() -> None:
    named = set(re.findall(r"`(\w+)", _section("Settings"))) | {"project_id", "management_key", "settings"}

    assert set(Seed.model_fields) <= named
    assert set(SeedPerson.model_fields) - {"id", "name"} <= named


def test_every_method_that_is_named_is_played() -> None:
    places = [path for _, path in all_endpoints("P2")]
    played = {path.removeprefix("/v1/auth/") for path in places if path.startswith("/v1/auth/")}

    for row in _section("What it plays").splitlines():
        for prefix, first in re.findall(r"`(\w+/)` `([\w-]+)`", row):
            assert any(path.startswith(prefix + first) for path in played), row
    folders = {path.partition("/")[0] for path in played if "/" in path}
    assert folders <= set(re.findall(r"(\w+)/", _section("What it plays")))
