"""The peers: how each is configured and started, with and without a request log. One worker each.

All check the signature, and where they can issuer and expiry; all forward to the same upstream with kept connections
and name the subject in a header. The configurations themselves lie in `peers/`.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.setup import PEERS, ROOT, Tools
from bench.tokens import ACCESS_KEY_SUBJECT, ISSUER, PROJECT

LOOPBACK = "127.0.0.1"
_TEMPLATES = Environment(
    loader=FileSystemLoader(PEERS), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
)


@dataclass(frozen=True, slots=True)
class Place:
    """What one started peer is told.

    id: names its files in `folder`. port: where bearers come in; cookie_port: where cookies do, for those that want a
    listener of their own for them; inner_port, admin_port: for those that need them. upstream, descope: ports.
    log: whether every request is logged, to `log_file`. routes: how many the gateway shall have; 0 for the usual few.
    """

    id: str
    folder: Path
    tools: Tools
    jwks: Path
    pem: Path
    port: int
    cookie_port: int
    inner_port: int
    admin_port: int
    upstream: int
    descope: int
    log: bool = False
    routes: int = 0
    workers: int = 1

    @property
    def log_file(self) -> Path:
        return self.folder / f"{self.id}.log"

    def file(self, template: str, **more: object) -> str:
        """Renders a template of `peers/` beside the other files of this peer; returns its path."""
        path = self.folder / f"{self.id}.{template.removesuffix('.j2')}"
        path.write_text(render(template, {**self._words(), **more}), "utf-8")
        return str(path)

    def _words(self) -> Mapping[str, object]:
        names = (
            "id",
            "folder",
            "jwks",
            "pem",
            "port",
            "inner_port",
            "upstream",
            "descope",
            "log",
            "log_file",
            "routes",
        )
        doors = [{"kind": "bearer", "port": self.port}, {"kind": "cookie", "port": self.cookie_port}]
        return {name: getattr(self, name) for name in names} | {"issuer": ISSUER, "project": PROJECT, "doors": doors}


@dataclass(frozen=True, slots=True)
class Program:
    """One process to start. environment: what is added to ours."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """One gateway of the comparison.

    checks: whether it looks at tokens at all. websocket: whether it carries upgrades as configured here.
    cookie_door: whether cookies have a listener of their own. bearer_only: a variant that is measured in (a) alone.
    programs: what to start in a place, first what others depend on.
    """

    id: str
    title: str
    programs: Callable[[Place], tuple[Program, ...]]
    checks: bool = True
    websocket: bool = True
    cookie_door: bool = False
    bearer_only: bool = False


def render(template: str, words: Mapping[str, object]) -> str:
    return _TEMPLATES.get_template(template).render(words)


def upstream(place: Place, files: Path, access_key_session: str) -> Program:
    """nginx that answers by itself: everybody's upstream, and what the gateway asks in Descope's place."""
    words = {"files": files, "access_key_subject": ACCESS_KEY_SUBJECT, "access_key_session": access_key_session}
    return _nginx(place, place.file("upstream.nginx.conf.j2", **words))


def sink(port: int) -> Program:
    """The upstream for uploads and WebSockets, which nginx alone cannot be."""
    return Program((sys.executable, "-P", "-m", "bench.sink", str(port)), {"PYTHONPATH": str(ROOT)})


def _nginx(place: Place, config: str) -> Program:
    return Program((place.tools.nginx, "-e", f"{place.folder}/{place.id}.err", "-p", str(place.folder), "-c", config))


def _plain(place: Place) -> tuple[Program, ...]:
    return (_nginx(place, place.file("plain.nginx.conf.j2")),)


def _fastapi(place: Place) -> tuple[Program, ...]:
    serve = (place.tools.python, "-m", "uvicorn", "fastapi_verify:app", "--app-dir", str(PEERS))
    options = ("--port", str(place.inner_port), "--loop", "uvloop", "--http", "httptools", "--no-access-log")
    environment = {"BENCH_PEM": str(place.pem), "BENCH_ISSUER": ISSUER}
    return Program((*serve, *options), environment), _nginx(place, place.file("fastapi.nginx.conf.j2"))


def _haproxy(place: Place, *, claims: bool) -> tuple[Program, ...]:
    return (Program((place.tools.haproxy, "-db", "-f", place.file("haproxy.cfg.j2", claims=claims))),)


def _envoy(place: Place, *, cache: bool) -> tuple[Program, ...]:
    options = ("--concurrency", "1", "--log-level", "error", "--disable-hot-restart")
    return (Program((place.tools.envoy, "-c", place.file("envoy.yaml.j2", cache=cache), *options)),)


def _go(place: Place) -> tuple[Program, ...]:
    log = ("-log",) if place.log else ()
    upstream_url = f"http://{LOOPBACK}:{place.upstream}"
    options = ("-listen", f"{LOOPBACK}:{place.port}", "-upstream", upstream_url, "-jwks", str(place.jwks))
    return (Program((place.tools.go_proxy, *options, "-issuer", ISSUER, *log), {"GOMAXPROCS": "1"}),)


def _naive(place: Place) -> tuple[Program, ...]:
    log = ("--log",) if place.log else ()
    options = ("--port", str(place.port), "--upstream", f"http://{LOOPBACK}:{place.upstream}", "--pem", str(place.pem))
    return (Program((place.tools.python, str(PEERS / "naive.py"), *options, "--issuer", ISSUER, *log)),)


def _gateway(place: Place) -> tuple[Program, ...]:
    serve = (sys.executable, "-P", "-m", "gateway", "serve", "--config", place.file("routes.yaml.j2"))
    listen = ("--listen", f"{LOOPBACK}:{place.port}", "--admin", f"{LOOPBACK}:{place.admin_port}")
    workers = ("--workers", str(place.workers))
    return (
        Program((*serve, *listen, *workers), {"PYTHONPATH": str(ROOT), "GATEWAY_LOG": "json" if place.log else "off"}),
    )


GATEWAY = "gateway"
PLAIN = "nginx"
PEERS_BY_ID: Mapping[str, Peer] = {
    peer.id: peer
    for peer in (
        Peer(PLAIN, "nginx `proxy_pass`, no checks", _plain, checks=False),
        Peer("fastapi", "nginx `auth_request` + FastAPI", _fastapi, websocket=False),
        Peer("haproxy", "HAProxy `jwt_verify`", lambda place: _haproxy(place, claims=True), cookie_door=True),
        Peer(
            "haproxy-bare",
            "HAProxy `jwt_verify`, signature alone",
            lambda place: _haproxy(place, claims=False),
            cookie_door=True,
            bearer_only=True,
        ),
        Peer("envoy", "Envoy `jwt_authn`", lambda place: _envoy(place, cache=False), cookie_door=True),
        Peer(
            "envoy-cache", "Envoy `jwt_authn`, its cache on", lambda place: _envoy(place, cache=True), cookie_door=True
        ),
        Peer("go", "Go `httputil.ReverseProxy`", _go),
        Peer("naive", "aiohttp, as people write it", _naive, websocket=False),
        Peer(GATEWAY, "**this gateway**", _gateway),
    )
}
