"""Holds every module to its line: imports point upwards in the table, and makers of permits stay the only ones.

The checker reads source only (`ast`) and imports nothing of the gateway. It is itself held to made-up trees below, for
a check that cannot fail protects nobody.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = "gateway"
ROOT = Path(__file__).parent.parent / PACKAGE

# A module imports from earlier lines, and within its line only what stands before it. `x/*`: everything in that folder,
# whose modules may import each other without going round in a circle.
LINES: tuple[tuple[str, ...], ...] = (
    ("__init__", "core/__init__", "doors/__init__", "doors/auth/__init__", "idp_methods/__init__", "workers/__init__"),
    # the core: no waiting, no clock, no environment
    ("core/errors", "core/model", "core/memory", "core/signin"),
    (
        "core/retry_after",
        "core/keyset",
        "core/tokens",
        "core/frames",
        "core/target",
        "core/facts",
        "core/credentials",
        "core/outline",
        "core/limits",
        "core/crosssite",
        "core/redirects",
        "core/policy",
        "core/about",
        "core/patterns",
        "core/balance",
    ),
    ("core/routes", "core/headers", "core/forwarded", "core/assertion", "core/imagined"),
    # the shell
    ("clock", "settings", "steps", "files", "lines", "notify", "changes", "workers/allowances"),
    ("families", "tallies", "telemetry", "audit", "assertion_keys"),
    ("tasks", "traces", "certificates", "upstream_tls"),
    (
        "routefile/yamlmarks",
        "routefile/urls",
        "routefile/values",
        "routefile/forms",
        "routefile/rules",
        "routefile/identity_headers",
        "routefile/services",
        "routefile/login",
        "routefile/assertion",
        "routefile/audit",
        "routefile/schema",
        "routefile/reading",
        "routefile/checks",
        "routefile/compile",
        "routefile/service_checks",
        "routefile/config",
        "routefile/whole",
        "routefile/__init__",
        "idp_http",
        "idp_call",
        "idp_methods/sending",
        "idp_methods/account",
        "idp_methods/enchanted_link",
        "idp_methods/magic_link",
        "idp_methods/otp",
        "idp_methods/password",
        "idp_methods/redirects",
        "idp_methods/totp",
        "idp_methods/flows",
        "idp",
    ),
    (
        "rests",
        "keyring",
        "chains",
        "revocations",
        "verification",
        "profiles",
        "renewals",
        "exchanges",
        "remembered",
        "state",
        "holding",
        "holds",
        "outbox",
        "connection",
        "endings",
        "clientside",
        "bodies",
        "heads",
        "deadlines",
        "dial",
        "places",
        "pool",
        "health",
        "upstream",
    ),
    ("sessions",),
    ("gate",),
    ("streams",),
    (
        "doors/look",
        "doors/answers",
        "doors/reader",
        "doors/listener",
        "doors/client",
        "doors/faults",
        "doors/visit",
        "doors/forwarding",
        "doors/auth/outcome",
        "doors/auth/journeys",
        "doors/auth/turns",
        "doors/auth/desk",
        "doors/auth/session",
        "doors/auth/published_keys",
        "doors/auth/renew",
        "doors/auth/account",
        "doors/auth/login",
        "doors/auth/password_rules",
        "doors/auth/password",
        "doors/auth/password_reset",
        "doors/auth/sending",
        "doors/auth/otp",
        "doors/auth/magic_link",
        "doors/auth/enchanted_link",
        "doors/auth/redirects",
        "doors/auth/totp",
        "doors/auth/component",
        "doors/auth/descope_paths",
        "doors/auth/descope",
        "doors/auth/flow",
        "doors/signin",
        "doors/verify",
        "doors/proxy",
    ),
    ("meanings", "decisions", "recorded", "bypass", "explain", "compare", "reports", "reload", "sight", "status"),
    ("listening", "admin"),
    ("workers/channel", "workers/copies", "workers/remote", "workers/questions", "workers/totals", "workers/sight"),
    ("app", "process"),
    ("workers/plan", "workers/link"),
    ("workers/overview", "workers/worker", "workers/keeper", "workers/keeping"),
    ("workers/supervision",),
    ("cli_local", "cli", "__main__"),
)
# What plays the world around the gateway: it imports nothing of the gateway, and only the command line starts it.
APART = ("emulator", "demo")
MAY_START_APART = frozenset({"cli_local"})

IMPURE = frozenset({"asyncio", "aiohttp", "os", "time", "random", "secrets", "logging", "socket", "httpx", "uvloop"})
MAKERS: Mapping[str, frozenset[str]] = {
    "Admit": frozenset({"core/policy"}),
    "Identity": frozenset({"core/tokens", "core/imagined"}),
    "RefreshToken": frozenset({"core/tokens"}),
    "Signed": frozenset({"core/tokens"}),
}
# Identities that nobody proved stay away from everything that serves.
ONLY_FOR: Mapping[str, frozenset[str]] = {"core/imagined": frozenset({"routefile/whole", "explain", "compare", "cli"})}
ONLY_HERE: Mapping[str, frozenset[str]] = {"descope": frozenset({"idp", "idp_http", "idp_methods/*"})}
TASK_MAKERS = frozenset({"create_task", "ensure_future"})
TASKS_ARE_MADE_IN = frozenset({"tasks"})

Tree = Mapping[str, ast.Module]


def read_tree(root: Path) -> dict[str, ast.Module]:
    """Every module under `root` by its name, folders as slashes."""
    return {
        path.relative_to(root).with_suffix("").as_posix(): ast.parse(path.read_text("utf-8"))
        for path in sorted(root.rglob("*.py"))
    }


def problems(tree: Tree, lines: tuple[tuple[str, ...], ...] = LINES) -> list[str]:
    """What breaks the rules, one sentence each; [] for a tree that keeps them."""
    found = [
        *_lost(tree, lines),
        *_pointing_down(tree, lines),
        *_circles(tree),
        *_impure(tree),
        *_made_elsewhere(tree),
        *_not_apart(tree),
        *_stray_tasks(tree),
    ]
    return sorted(set(found))


def imports(tree: Tree, module: str) -> set[str]:
    """Modules of the package that `module` imports, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(tree[module]):
        if isinstance(node, ast.Import):
            found.update(_module_of(tree, alias.name) for alias in node.names if _is_own(alias.name))
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                found.add(f"(relative import in line {node.lineno})")
            elif node.module is not None and _is_own(node.module):
                for alias in node.names:
                    found.add(_module_of(tree, f"{node.module}.{alias.name}"))
    return found


def _is_own(dotted: str) -> bool:
    return dotted == PACKAGE or dotted.startswith(PACKAGE + ".")


def _module_of(tree: Tree, dotted: str) -> str:
    """The module that a dotted name lies in: itself, its package, or the module that defines it."""
    parts = dotted.split(".")[1:]
    for depth in range(len(parts), -1, -1):
        name = "/".join(parts[:depth])
        for candidate in (name, f"{name}/__init__".lstrip("/")):
            if candidate in tree:
                return candidate
    return "/".join(parts)  # not in the tree: reported as a module without a line


def _outside(tree: Tree, module: str) -> Iterator[str]:
    """First names of what `module` imports from other packages."""
    for node in ast.walk(tree[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield node.module.partition(".")[0]


def _is_apart(module: str) -> bool:
    return module.partition("/")[0] in APART


def _places(lines: tuple[tuple[str, ...], ...]) -> dict[str, tuple[int, int]]:
    return {module: (line, place) for line, modules in enumerate(lines) for place, module in enumerate(modules)}


def _lost(tree: Tree, lines: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    places = _places(lines)
    for module in tree:
        if not _is_apart(module) and module not in places:
            yield f"{module}: stands on no line of the table"
    for module in places:
        if module not in tree:
            yield f"{module}: is in the table, and there is no such module"


def _pointing_down(tree: Tree, lines: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    places = _places(lines)
    for module in tree:
        if module not in places:
            continue
        for imported in imports(tree, module) - {module}:
            if _is_apart(imported):
                continue
            if imported not in places:
                yield f"{module}: imports {imported}, which stands on no line"
            elif places[imported] >= places[module]:
                yield f"{module}: imports {imported}, which stands below it"
            elif imported in ONLY_FOR and module not in ONLY_FOR[imported]:
                yield f"{module}: imports {imported}, which only {' and '.join(sorted(ONLY_FOR[imported]))} may"


def _circles(tree: Tree) -> Iterator[str]:
    """The table forbids circles in the gateway; this finds them in the folders that stand apart, too."""
    done: set[str] = set()
    for start in tree:
        path: list[str] = []
        stack: list[tuple[str, Iterator[str]]] = [(start, iter(sorted(imports(tree, start) & tree.keys())))]
        path.append(start)
        while stack:
            module, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                done.add(module)
                stack.pop()
                path.pop()
            elif following in path and following != module:
                yield "imports in a circle: " + " > ".join([*path[path.index(following) :], following])
            elif following not in done and following != module:
                path.append(following)
                stack.append((following, iter(sorted(imports(tree, following) & tree.keys()))))


def _impure(tree: Tree) -> Iterator[str]:
    for module in tree:
        for outside in _outside(tree, module):
            if module.startswith("core/") and outside in IMPURE:
                yield f"{module}: imports {outside}, and the core neither waits nor looks around"
            if outside in ONLY_HERE and not _is_apart(module) and not _is_one_of(module, ONLY_HERE[outside]):
                yield f"{module}: imports {outside}, which only {' and '.join(sorted(ONLY_HERE[outside]))} may"


def _is_one_of(module: str, names: frozenset[str]) -> bool:
    """Whether `module` is named; `x/*` names everything in that folder."""
    return module in names or f"{module.rpartition('/')[0]}/*" in names


def _made_elsewhere(tree: Tree) -> Iterator[str]:
    for module, source in tree.items():
        if _is_apart(module):
            continue
        for node in ast.walk(source):
            if not isinstance(node, ast.Call):
                continue
            name = _called(node)
            if name in MAKERS and module not in MAKERS[name]:
                yield f"{module}:{node.lineno}: makes {name}, which only {' and '.join(sorted(MAKERS[name]))} may"


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(name):
            return name
        case ast.Attribute(_, name):
            return name
        case _:
            return ""


def _not_apart(tree: Tree) -> Iterator[str]:
    for module in tree:
        for imported in imports(tree, module):
            if _is_apart(module):
                own = module.partition("/")[0]
                if imported.partition("/")[0] != own and imported != "__init__":
                    yield f"{module}: imports {imported}, and {own} imports nothing of the gateway"
            elif _is_apart(imported) and module not in MAY_START_APART:
                yield f"{module}: imports {imported}, which only {' and '.join(sorted(MAY_START_APART))} may"


def _stray_tasks(tree: Tree) -> Iterator[str]:
    for module, source in tree.items():
        if _is_apart(module) or module in TASKS_ARE_MADE_IN:
            continue
        for node in ast.walk(source):
            if isinstance(node, ast.Call) and _called(node) in TASK_MAKERS:
                yield f"{module}:{node.lineno}: starts a task; `Tasks.spawn` holds on to it and ends it"


# --- the gateway ------------------------------------------------------------------------------------------------------


def test_every_module_keeps_to_its_line() -> None:
    assert problems(read_tree(ROOT)) == []


# --- the checker itself -----------------------------------------------------------------------------------------------

_SMALL_LINES = (
    ("__init__",),
    ("core/model", "core/policy", "core/imagined"),
    ("idp",),
    ("gate", "tasks"),
    ("cli_local",),
)


def _small_tree(**changed: str) -> dict[str, ast.Module]:
    """A tree that keeps all rules, apart from what a test changes; `__` in a name stands for a slash."""
    sources = {
        "__init__": "",
        "core/model": "class Admit: ...\nclass Identity: ...",
        "core/policy": "from gateway.core.model import Admit\npermit = Admit()",
        "core/imagined": "from gateway.core.model import Identity\nwho = Identity()",
        "idp": "import descope",
        "gate": "from gateway.core.policy import permit\nimport asyncio",
        "tasks": "import asyncio\ndef spawn(w): return asyncio.get_running_loop().create_task(w)",
        "cli_local": "from gateway import gate\nfrom gateway.emulator import play",
        "emulator/__init__": "import asyncio",
        "emulator/play": "import descope\nfrom gateway.emulator import other",
        "emulator/other": "import asyncio\nasyncio.create_task(None)",
    }
    sources |= {name.replace("__", "/"): source for name, source in changed.items()}
    return {name: ast.parse(source) for name, source in sources.items()}


def test_a_tree_that_keeps_the_rules_has_no_problems() -> None:
    assert problems(_small_tree(), _SMALL_LINES) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param(
            {"core__model": "import gateway.gate\nclass Admit: ..."},
            "core/model: imports gate, which stands below it",
            id="an import that points down",
        ),
        pytest.param(
            {"core__model": "def late():\n    from gateway import gate\n    return gate"},
            "core/model: imports gate, which stands below it",
            id="an import inside a function",
        ),
        pytest.param(
            {"gate": "from gateway.tasks import spawn"},
            "gate: imports tasks, which stands below it",
            id="an import of what stands later on the same line",
        ),
        pytest.param(
            {"stray": ""},
            "stray: stands on no line of the table",
            id="a module without a line",
        ),
        pytest.param(
            {"gate": "from .core import policy"},
            "gate: imports (relative import in line 1), which stands on no line",
            id="a relative import",
        ),
        pytest.param(
            {"core__policy": "import time"},
            "core/policy: imports time, and the core neither waits nor looks around",
            id="a clock in the core",
        ),
        pytest.param(
            {"core__policy": "from asyncio import sleep"},
            "core/policy: imports asyncio, and the core neither waits nor looks around",
            id="an event loop in the core",
        ),
        pytest.param(
            {"gate": "from gateway.core.model import Admit\npermit = Admit()"},
            "gate:2: makes Admit, which only core/policy may",
            id="a permit made outside the policy",
        ),
        pytest.param(
            {"gate": "from gateway.core import model\npermit = model.Admit()"},
            "gate:2: makes Admit, which only core/policy may",
            id="a permit made through its module",
        ),
        pytest.param(
            {"gate": "from gateway.core import model\nwho = model.Identity()"},
            "gate:2: makes Identity, which only core/imagined and core/tokens may",
            id="an identity that nobody verified",
        ),
        pytest.param(
            {"gate": "from gateway.core.imagined import who"},
            "gate: imports core/imagined, which only cli and compare and explain and routefile/whole may",
            id="an imagined identity where requests are served",
        ),
        pytest.param(
            {"gate": "import descope.exceptions"},
            "gate: imports descope, which only idp and idp_http and idp_methods/* may",
            id="the SDK outside its module",
        ),
        pytest.param(
            {"gate": "from gateway.emulator import play"},
            "gate: imports emulator/play, which only cli_local may",
            id="the emulator used by the gateway",
        ),
        pytest.param(
            {"emulator__play": "from gateway.core.model import Admit"},
            "emulator/play: imports core/model, and emulator imports nothing of the gateway",
            id="the gateway used by the emulator",
        ),
        pytest.param(
            {"emulator__other": "from gateway.emulator import play"},
            "imports in a circle: emulator/play > emulator/other > emulator/play",
            id="a circle inside a folder apart",
        ),
        pytest.param(
            {"gate": "import asyncio\nasyncio.create_task(None)"},
            "gate:2: starts a task; `Tasks.spawn` holds on to it and ends it",
            id="a task that nobody holds",
        ),
    ],
)
def test_a_broken_rule_is_named(changed: dict[str, str], expected: str) -> None:
    found = problems(_small_tree(**changed), _SMALL_LINES)

    assert any(expected in problem for problem in found), found


def test_a_module_of_the_table_that_is_gone_is_named() -> None:
    tree = _small_tree()
    del tree["gate"], tree["cli_local"]

    found = problems(tree, _SMALL_LINES)

    assert "gate: is in the table, and there is no such module" in found
