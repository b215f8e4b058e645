"""The seed file, and that what is secret in it stays nowhere readable."""

import gc
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.emulator import Emulator, Seed, SeedError, load_seed
from gateway.emulator.passwords import PasswordHash, hashed, is_right

GOOD: dict[str, Any] = {
    "project_id": "P2test0000000000000000000000",
    "management_key": "a-management-key",
    "permissions": [{"name": "docs.read"}],
    "roles": [{"name": "reader", "permissions": ["docs.read"]}, {"name": "clerk", "tenant": "acme"}],
    "tenants": [{"id": "acme", "name": "Acme"}, {"id": "globex", "name": "Globex"}],
    "people": [{"login_id": "ada@example.com", "password": "ada-password", "tenants": {"acme": ["clerk"]}}],
    "access_keys": [{"id": "K2aaaaaaaaaaaaaaaaaaaaaaaaaa", "name": "robot", "cleartext": "robot-key"}],
}


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "seed.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_demos_seed_has_a_project_id_like_descopes(seed: Seed) -> None:
    assert (len(seed.project_id), seed.project_id[0]) == (28, "P")


def test_the_demos_seed_names_its_people(seed: Seed) -> None:
    assert [person.login_id.partition("@")[0] for person in seed.people] == ["ada", "bob", "cleo", "dan"]
    assert {person.status for person in seed.people} == {"enabled", "disabled"}


def test_a_good_seed_is_loaded(tmp_path: Path) -> None:
    loaded = load_seed(_written(tmp_path, yaml.safe_dump(GOOD)))

    assert Emulator(loaded).sign_in("ada@example.com")[0].count(".") == 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param({"project_id": "X1"}, "project_id", id="project-id"),
        pytest.param({"project_id": None}, "project_id", id="no-project-id"),
        pytest.param({"management_key": ""}, "management_key", id="empty-management-key"),
        pytest.param({"colour": "red"}, "colour", id="unknown-key"),
        pytest.param({"settings": {"session_ttl_s": "long"}}, "settings.session_ttl_s", id="no-number"),
        pytest.param({"people": [{"login_id": "a", "roles": ["king"]}]}, "'king'", id="unknown-role"),
        pytest.param(
            {"people": [{"login_id": "a", "roles": ["clerk"]}]}, "'clerk'", id="a-tenants-role-in-the-project"
        ),
        pytest.param(
            {"people": [{"login_id": "a", "tenants": {"globex": ["clerk"]}}]}, "globex", id="another-tenants-role"
        ),
        pytest.param({"people": [{"login_id": "a", "tenants": {"initech": []}}]}, "'initech'", id="unknown-tenant"),
        pytest.param({"people": [{"login_id": "a"}, {"login_id": "a"}]}, "2 times", id="a-person-twice"),
        pytest.param({"people": [{"login_id": "a", "password": "hunter2"}]}, "at least 8", id="a-short-password"),
        pytest.param({"roles": [{"name": "r", "permissions": ["fly"]}]}, "'fly'", id="unknown-permission"),
        pytest.param({"access_keys": [{"id": "X", "name": "x", "cleartext": "y"}]}, "access_keys.0.id", id="a-key-id"),
        pytest.param({"access_keys": [GOOD["access_keys"][0] | {"user": "bob"}]}, "'bob'", id="unknown-owner"),
        pytest.param(
            {"access_keys": [GOOD["access_keys"][0] | {"permitted_ips": ["here"]}]}, "'here'", id="no-address"
        ),
        pytest.param({"people": [{"login_id": "a", "email": "at home"}]}, "no e-mail address", id="no-email"),
        pytest.param({"people": [{"login_id": "a", "phone": "0-nine"}]}, "no phone number", id="no-phone"),
        pytest.param({"people": [{"login_id": "a", "totp_key": "hunter2"}]}, "base32", id="no-totp-key"),
        pytest.param(
            {"people": [{"login_id": "+1 202 555 0101"}, {"login_id": "a", "more_login_ids": ["+12025550101"]}]},
            "2 times",
            id="a-phone-twice",
        ),
        pytest.param(
            {"tenants": [{"id": one, "name": one, "domains": ["a.example"]} for one in ("acme", "globex")]},
            "'a.example' appears 2 times",
            id="a-domain-twice",
        ),
        pytest.param({"tenants": [{"id": "acme", "name": "Acme", "sso": "yes"}]}, "tenants.0.sso", id="unknown-sso"),
        pytest.param({"oauth_providers": ["a b"]}, "oauth_providers.0", id="no-provider"),
        pytest.param({"settings": {"magic_link_url": "/verify"}}, "settings.magic_link_url", id="no-url"),
        pytest.param({"settings": {"reset_method": "pigeon"}}, "settings.reset_method", id="unknown-reset-method"),
    ],
)
def test_a_bad_seed_is_an_error_that_names_file_and_problem(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    path = _written(tmp_path, yaml.safe_dump(GOOD | change))

    with pytest.raises(SeedError) as refused:
        load_seed(path)

    assert str(path) in str(refused.value)
    assert named in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param("people: [{password: hunter2, ", "not YAML", id="cut-off"),
        pytest.param("project_id: a\nproject_id: b\n", "appears twice", id="a-key-twice"),
        pytest.param("- just\n- a list\n", "mapping", id="a-list"),
        pytest.param("", "mapping", id="nothing"),
        pytest.param("a: \x00", "characters", id="a-nul"),
    ],
)
def test_what_is_no_seed_is_an_error(tmp_path: Path, text: str, named: str) -> None:
    path = _written(tmp_path, text)

    with pytest.raises(SeedError, match=named) as refused:
        load_seed(path)

    assert str(path) in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_seed_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match=r"nowhere\.yaml: cannot be read"):
        load_seed(tmp_path / "nowhere.yaml")


def test_a_seeded_person_signs_in_by_each_login_id(tmp_path: Path) -> None:
    person = {"login_id": "ada@example.com", "more_login_ids": ["+1 (202) 555-0101"], "phone": "+12025550101"}
    loaded = Emulator(load_seed(_written(tmp_path, yaml.safe_dump(GOOD | {"people": [person]}))))

    found = [loaded.directory.person_by_login(one) for one in ("ADA@example.com", "+12025550101", "+1 202 555-0101")]

    assert found[0] is not None
    assert found.count(found[0]) == 3
    assert loaded.directory.person_by_login("12025550101") is None


def test_a_running_emulator_holds_no_password_and_no_key(seed: Seed) -> None:
    secrets = {
        *(person.password.get_secret_value() for person in seed.people if person.password),
        *(key.cleartext.get_secret_value() for key in seed.access_keys),
        seed.management_key.get_secret_value(),
    }

    assert len(secrets) == 8
    assert not secrets & set(_texts_within(Emulator(seed)))


def _texts_within(root: object) -> list[str]:
    """Every text that can be reached from an object through data, and not through code."""
    seen: dict[int, object] = {}
    texts, waiting = [], [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type) or callable(one):
            continue
        seen[id(one)] = one
        if isinstance(one, str):
            texts.append(one)
        waiting += gc.get_referents(one)
    return texts


def test_t19_a_password_that_nobody_has_costs_as_much_to_refuse_as_a_wrong_one() -> None:
    known = hashed("the right one")

    wrong_s, nobodys_s = (min(_seconds_to_refuse(one) for _ in range(7)) for one in (known, None))

    assert 0.5 < wrong_s / nobodys_s < 2
    assert is_right(known, "the right one")


def _seconds_to_refuse(known: PasswordHash | None) -> float:
    began = time.perf_counter()
    assert not is_right(known, "wrong")
    return time.perf_counter() - began


def test_a_seeds_secrets_do_not_show_when_it_is_printed(seed: Seed) -> None:
    assert "ada-demo-password" not in repr(seed)
    assert "demoworkerkey" not in repr(seed)
