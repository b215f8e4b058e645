"""What the parts of an upstream make of each other, and whether the files it names can be used."""

import ssl
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from gateway.assertion_keys import AHEAD_S, UnusableKeys, read_key_file
from gateway.certificates import ServerCertificate, UnusablePair, now
from gateway.core.model import ServerRules
from gateway.core.model import Upstream as UpstreamRules
from gateway.routefile import compile as compiled
from gateway.routefile.assertion import Assertion
from gateway.routefile.audit import AuditFile
from gateway.routefile.reading import Piece, Reading
from gateway.routefile.services import Tls, Upstream
from gateway.routefile.urls import UpstreamAddress, upstream_address
from gateway.routefile.values import duration_s
from gateway.routefile.yamlmarks import Loc
from gateway.upstream_tls import tls_context


def check_upstream(reading: Reading, piece: Piece[Upstream]) -> None:
    """Tell what is wrong or useless; parts in doubt are not spoken of."""
    if piece.is_sure_of("url", "urls"):
        _check_targets(reading, piece)
        if piece.spec.addresses and piece.is_sure_of("tls"):
            _check_tls(reading, piece)
        _doubt_ejection(reading, piece)
    _doubt_numbers(reading, piece)


def _check_targets(reading: Reading, piece: Piece[Upstream]) -> None:
    spec, loc = piece.spec, piece.loc
    if spec.url is not None and spec.urls is not None:
        reading.problem((*loc, "urls"), "url and urls stand beside each other; keep one of the two", key=True)
        return
    if not spec.addresses:
        reading.problem(loc, "the key `url` is missing; add it, or `urls` for several targets of one service")
        return
    if spec.urls is None:
        return
    first = upstream_address(spec.urls[0])
    known: set[UpstreamAddress] = set()
    for index, url in enumerate(spec.urls):
        found = upstream_address(url)
        at: Loc = (*loc, "urls", index)
        if (_scheme(found), found.base_path) != (_scheme(first), first.base_path):
            reading.problem(
                at,
                f"this is {_kind(found)}, and the first is {_kind(first)};"
                " targets of one service have one scheme and one path",
            )
        elif found in known:
            reading.problem(at, "this target stands here already; take one of the two away")
        known.add(found)


def _scheme(address: UpstreamAddress) -> str:
    return "unix" if address.socket_path else "https" if address.tls else "http"


def _kind(address: UpstreamAddress) -> str:
    return f"{_scheme(address)} with the path {address.base_path}" if address.base_path else _scheme(address)


# --- TLS ------------------------------------------------------------------------------------------------------------


def _check_tls(reading: Reading, piece: Piece[Upstream]) -> None:
    tls, loc = piece.spec.tls, (*piece.loc, "tls")
    if tls is None:
        return
    if any(not url.lower().startswith("https:") for url in piece.spec.addresses):
        reading.problem(loc, "nothing of this would be used: only https is spoken with TLS; write https", key=True)
        return
    for key, sentence in _tls_faults(tls):
        reading.problem((*loc, key), sentence)


def _tls_faults(tls: Tls) -> Iterator[tuple[str, str]]:
    """What is wrong with the files: a key and a sentence each."""
    if tls.key is not None and tls.cert is None:
        yield "key", "a key without its certificate proves nothing; add cert"
        return
    try:
        tls_context(compiled.tls_rules(tls))
    except UnusablePair as err:
        yield err.key, str(err)
    except ssl.SSLError:
        yield "ca", "the file has no certificate in the form PEM (-----BEGIN CERTIFICATE-----)"
    except OSError as err:
        yield "ca", f"the file cannot be read: {err.strerror or type(err).__name__}"


def check_listener_tls(reading: Reading, rules: ServerRules) -> None:
    """Tell what is wrong with the certificate of the public listener, and what browsers will have against it."""
    if rules.tls is None:
        return
    for url in rules.public_urls:
        if urlsplit(url).scheme == "http":
            sentence = f"{url} is plain, but server.tls encrypts; write https, or leave tls to what stands in front"
            reading.problem(("server", "public_urls"), sentence)
    try:
        certificate = ServerCertificate(rules.tls)
    except UnusablePair as err:
        reading.problem(("server", "tls", err.key), str(err))
        return
    hosts = [urlsplit(url).hostname or "" for url in rules.public_urls]
    for sentence in certificate.doubts(hosts, now()):
        reading.warn(("server", "tls", "cert"), sentence)


def warn_of_other_names(reading: Reading, upstreams: Mapping[str, UpstreamRules]) -> None:
    """With forward-auth it is the other proxy that has to take these headers off what clients send."""
    for declared, upstream in upstreams.items():
        if upstream.identity_headers.reserved:
            names = ", ".join(header for _, header in upstream.identity_headers.names)
            sentence = (
                f"the proxy that asks has to set {names}, and take them off what clients send; see docs/forward-auth.md"
            )
            reading.warn(("upstreams", declared, "identity_headers"), sentence)


# --- assertions -----------------------------------------------------------------------------------------------------


def check_assertion(reading: Reading, piece: Piece[Assertion], *, is_asked_for: bool) -> None:
    """Tell what is wrong or useless in a section that is there. is_asked_for: whether any upstream gets assertions."""
    spec, loc = piece.spec, piece.loc
    if spec.key_file is not None and piece.is_sure_of("key_file"):
        try:
            read_key_file(spec.key_file)
        except OSError as err:
            reading.problem((*loc, "key_file"), f"the file cannot be read: {err.strerror or type(err).__name__}")
        except UnusableKeys as err:
            reading.problem((*loc, "key_file"), str(err))
    if "rotate" in spec.model_fields_set and piece.is_sure_of("rotate", "key_file"):
        if spec.key_file is not None:
            reading.warn((*loc, "rotate"), "keys from a file change with the file; this changes nothing", key=True)
        elif duration_s(spec.rotate) < 2 * AHEAD_S:
            minutes = AHEAD_S / 60
            reading.problem(
                (*loc, "rotate"),
                f"a key is published for {minutes:.0f}m before it signs; give {2 * minutes:.0f}m or more",
            )
    if not is_asked_for:
        reading.warn(loc, "no upstream asks for assertions; say assertion: true where one is to get them", key=True)


# --- audit ----------------------------------------------------------------------------------------------------------


def audit_place(reading: Reading, said: object) -> str:
    """`stdout`, a path, or "" where nothing is said; problems go to the reading."""
    if said is None or ("audit",) in reading.document.spoiled:
        return ""
    if isinstance(said, dict):
        piece = reading.piece(AuditFile, ("audit",))
        return piece.spec.file if piece is not None else ""
    if said != "stdout":
        reading.problem(("audit",), "write audit: stdout, or audit: {file: /var/log/gateway/audit.jsonl}")
        return ""
    return "stdout"


# --- doubts ---------------------------------------------------------------------------------------------------------


def _doubt_ejection(reading: Reading, piece: Piece[Upstream]) -> None:
    written = reading.value(piece.loc)
    if "eject" in written and len(piece.spec.addresses) == 1:
        reading.warn((*piece.loc, "eject"), "the only target is never taken out; this changes nothing", key=True)


def _doubt_numbers(reading: Reading, piece: Piece[Upstream]) -> None:
    spec, loc = piece.spec, piece.loc
    connections, health, retry = spec.connections, spec.health, spec.retry
    if piece.is_sure_of("connections"):
        if connections.queue == 0 and "wait" in connections.model_fields_set:
            reading.warn((*loc, "connections", "wait"), "with queue: 0 nobody waits; this changes nothing", key=True)
        if duration_s(connections.wait) > 60:
            reading.warn(
                (*loc, "connections", "wait"), "people give up sooner; what waits longer than a minute serves nobody"
            )
    if health is not None and piece.is_sure_of("health") and duration_s(health.timeout) > duration_s(health.interval):
        reading.warn(
            (*loc, "health", "timeout" if "timeout" in health.model_fields_set else "interval"),
            "a check may take longer than the time between two; make timeout the shorter one",
        )
    if spec.eject.after == 0 and "span" in spec.eject.model_fields_set and piece.is_sure_of("eject"):
        reading.warn((*loc, "eject", "for"), "with after: 0 nothing is taken out; this changes nothing", key=True)
    if piece.is_sure_of("retry") and retry.budget == "100%":
        reading.warn((*loc, "retry", "budget"), "this lets repeats double the load of a service that is failing")
