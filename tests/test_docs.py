"""Holds the documentation to the code, both ways: nothing undocumented, nothing documented that is not there."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from gateway import routefile
from gateway.audit import Audit
from gateway.cli import cli
from gateway.core.model import Reason
from gateway.explain import failures
from gateway.meanings import MEANINGS
from gateway.settings import Settings
from gateway.telemetry import Metrics, Record, RequestLog

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
_SKIPPED = {".venv", ".bench", ".deploy", "node_modules", ".git", ".pytest_cache"}
PAGES = sorted(p for p in ROOT.rglob("*.md") if not _SKIPPED & set(p.relative_to(ROOT).parts))
_CODE = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def read(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def first_cells(text: str) -> Iterator[str]:
    """Code spans in the first cells of tables."""
    for line in text.splitlines():
        if line.startswith("| `"):
            yield from _CODE.findall(line.split("|")[1])


def headings(text: str) -> list[str]:
    return re.findall(r"^#{1,6} (.+?)\s*$", _FENCE.sub("", text), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that headings get: lower case, blanks as hyphens, punctuation gone."""
    made = set()
    for heading in headings(page.read_text("utf-8")):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        made.add(re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-"))
    return made


# --- reasons --------------------------------------------------------------------------------------------------------


def test_every_reason_has_a_section_under_its_status_and_no_other_word_has() -> None:
    section = ""
    told = {}
    for heading in headings(read("reasons.md")):
        if heading.startswith("`"):
            told[heading.strip("`")] = section
        else:
            section = heading

    assert set(told) == {reason.value for reason in Reason}
    assert [r.value for r in Reason if str(r.status) not in told[r.value]] == []


def test_every_reason_is_explained_in_words() -> None:
    sections = re.split(r"^#{2,3} `?", read("reasons.md"), flags=re.MULTILINE)
    told = {section.partition("`")[0]: section.partition("`")[2] for section in sections}

    assert [reason.value for reason in Reason if len(told[reason.value].split()) < 8] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_status_with_a_word_names_a_reason_that_there_is(page: Path) -> None:
    known = {reason.value: reason.status for reason in Reason}
    found = re.findall(r"\b([45][0-9]{2})\s+`?([a-z]+(?:_[a-z]+)+)`?", page.read_text("utf-8"))

    assert [(status, word) for status, word in found if known.get(word) != int(status)] == []


def test_what_explain_tells_of_a_reason_is_what_its_section_says() -> None:
    def plain(text: str) -> str:
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
        return " ".join(re.sub(r"\*(Caller|Operator):\*", r"\1:", text).replace("**", "").split())

    sections = re.split(r"^#{2,3} ", read("reasons.md"), flags=re.MULTILINE)
    told = {section.partition("\n")[0].strip("`"): plain(section.partition("\n")[2]) for section in sections}

    assert set(MEANINGS) == set(Reason)
    assert [r.value for r in Reason if " ".join(MEANINGS[r]) != told[r.value]] == []


# --- metrics --------------------------------------------------------------------------------------------------------


def exposed_metrics() -> dict[str, tuple[str, ...]]:
    """Names as they are scraped (without what histograms add) and their labels."""
    found = {}
    # Kept by prometheus_client for its own exposition; there is no public way to labels of metrics not yet used.
    for collector in list(Metrics().registry._collector_to_names):
        metric: Any = collector
        suffix = "_total" if metric._type == "counter" else ""
        found[metric._name + suffix] = tuple(metric._labelnames)
    return found


def test_every_metric_is_in_the_table_with_its_labels() -> None:
    told = {}
    for line in read("operating.md").splitlines():
        if line.startswith("| `gateway_"):
            cells = line.split("|")
            told[cells[1].strip(" `")] = tuple(_CODE.findall(cells[2]))

    assert told == exposed_metrics()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_metric_that_is_named_anywhere_exists(page: Path) -> None:
    known = exposed_metrics()
    named = re.findall(r"\bgateway_[a-z_]+\b", page.read_text("utf-8"))

    assert [n for n in named if re.sub(r"_(bucket|sum|count)$", "", n) not in known] == []


# --- settings, commands, log ----------------------------------------------------------------------------------------


def test_every_setting_is_in_the_table_and_no_other_is_named() -> None:
    settings = {f"GATEWAY_{field.name.upper()}" for field in dataclasses.fields(Settings)}
    told = {cell for cell in first_cells(read("operating.md")) if cell.startswith("GATEWAY_")}

    assert told == settings


def test_every_command_is_in_the_table_and_no_other_is_named() -> None:
    told = {cell.split()[1] for cell in first_cells(read("operating.md")) if cell.startswith("gateway ")}

    assert told == set(cli.commands)


def test_a_command_that_is_named_anywhere_exists() -> None:
    for page in PAGES:
        named = re.findall(r"(?:`|bin/|^\s*)gateway ([a-z]+)", page.read_text("utf-8"), re.MULTILINE)

        assert set(named) <= set(cli.commands), page


async def test_every_field_of_the_request_log_is_in_the_table_and_no_other_is() -> None:
    stream = StringIO()
    log = RequestLog("json", stream, lambda: 0.0)
    record = Record("0")
    record.trace_id = "0"
    log.write(record)
    log.flush()
    section = read("operating.md").partition("\n## Logs\n")[2].partition("\n## ")[0]

    assert set(first_cells(section)) == set(json.loads(stream.getvalue()))


async def test_every_field_of_an_audit_record_is_in_the_table_and_no_other_is(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    audit = Audit(str(file), StringIO(), lambda: 0.0, lambda _: None)
    audit.refused(Record("0"))
    audit.close()
    section = read("operating.md").partition("\n## Audit\n")[2].partition("\n## ")[0]

    assert set(first_cells(section)) == set(json.loads(file.read_text("utf-8")))


# --- route file -----------------------------------------------------------------------------------------------------


def keys_of(schema: Mapping[str, Any], root: Mapping[str, Any], path: str = "", depth: int = 0) -> Iterator[str]:
    """Every key that a route file may hold: `a.b`, lists as `a[].b`, names of one's own as `a.NAME`."""
    if depth > 12:
        return
    reference = schema.get("$ref")
    if isinstance(reference, str):
        yield from keys_of(root["$defs"][reference.rpartition("/")[2]], root, path, depth + 1)
    for choice in ("anyOf", "oneOf", "allOf"):
        for option in schema.get(choice, ()):
            yield from keys_of(option, root, path, depth + 1)
    for name, inner in schema.get("properties", {}).items():
        inside = f"{path}.{name}" if path else name
        yield inside
        yield from keys_of(inner, root, inside, depth + 1)
    items, others = schema.get("items"), schema.get("additionalProperties")
    if isinstance(items, Mapping):
        yield from keys_of(items, root, f"{path}[]", depth + 1)
    for named in (others, *schema.get("patternProperties", {}).values()):
        if isinstance(named, Mapping):
            yield from keys_of(named, root, f"{path}.NAME", depth + 1)


def test_every_key_of_the_route_file_is_in_a_table_and_no_other_is() -> None:
    schema = routefile.schema()
    known = set(keys_of(schema, schema))
    told = {cell for cell in first_cells(read("route-file.md")) if not cell.startswith("{")}

    assert len(known) > 40
    assert sorted(known - told) == []
    assert sorted(told - known) == []


def yaml_files() -> Iterator[Any]:
    """Whole route files shown in the documentation."""
    for page in PAGES:
        for number, text in enumerate(
            re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        ):
            if text.lstrip().startswith(("version:", "# yaml-language-server")):
                yield pytest.param(text, id=f"{page.relative_to(ROOT)} {number}")


@pytest.mark.parametrize("text", list(yaml_files()))
def test_a_route_file_that_is_shown_can_be_served_and_does_what_its_tests_say(text: str) -> None:
    config = routefile.parse(text, "shown.yaml", {"DESCOPE_PROJECT_ID": "P2demo0000000000000000000000"})

    assert failures(config) == ()


# --- links ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(_FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = unquote(link).partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and (target.suffix != ".md" or anchor not in anchors(target))):
            broken.append(link)

    assert broken == []


def names_of_tests() -> set[str]:
    """Every test there is, by name."""
    sources = (path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    return {name for source in sources for name in re.findall(r"^ *(?:async )?def (test_\w+)\(", source, re.MULTILINE)}


def test_a_test_that_the_threat_model_names_exists() -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", (ROOT / "THREAT_MODEL.md").read_text("utf-8")))

    assert named
    assert sorted(named - names_of_tests()) == []


def test_every_class_of_attack_in_the_threat_model_has_tests_that_carry_its_id() -> None:
    defended = (ROOT / "THREAT_MODEL.md").read_text("utf-8").partition("## Not defended")[0]
    classes = set(re.findall(r"\bT-([0-9]{2})\b", defended))
    tested = {number for name in names_of_tests() for number in re.findall(r"_t([0-9]{2})(?=_)", name)}

    assert len(classes) > 20
    # T-22 is the question whether any of these tests can fail, which `make mutants` asks.
    assert sorted(classes - tested - {"22"}) == []
