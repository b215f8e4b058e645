"""What another route file would decide differently: example requests put to both, by the same judge that serves.

Every pattern of either file gives examples of what it is for, and every set of conditions gives callers who just meet
it, beside nobody, a session and an access key that hold nothing. That finds every route that opens or closes; it does
not weigh limits, other sites' requests, or conditions that only a third combination of roles would tell apart.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from gateway.core.imagined import imagined
from gateway.core.model import (
    Admit,
    Auth,
    ClaimHeld,
    ClientWithin,
    ConstantTenant,
    HostLabel,
    Identity,
    KeyIdIn,
    Network,
    PathCapture,
    PermissionsHeld,
    Reason,
    RolesHeld,
    Route,
    SelectedTenant,
    Wanted,
)
from gateway.core.patterns import Rank, pattern_pieces
from gateway.core.routes import methods_of
from gateway.explain import LOOPBACK, Account, Asked, explain, spelt_caller
from gateway.routefile import Config

_ANY = "any"  # stands for whatever a pattern catches
_ELSEWHERE = "198.51.100.1"  # an address for documentation (RFC 5737), which no list of clients has
_KEY = "K2example"
_SESSION = "U2example"
_MOST_CHOICES = 32
T = TypeVar("T")


class Change(StrEnum):
    """How a decision differs. Its value is what people read."""

    OPEN = "newly open"
    CLOSED = "newly closed"
    OTHER = "otherwise"


@dataclass(frozen=True, slots=True)
class Difference:
    """Examples that are decided differently in one way. before, after: the outcome, and the route that decided ("" for
    none). requests, callers: what and who, as people read it."""

    change: Change
    before: tuple[str, str]
    after: tuple[str, str]
    requests: tuple[str, ...]
    callers: tuple[str, ...]


_Way = tuple[Change, tuple[str, str], tuple[str, str]]


def differences(old: Config, new: Config) -> tuple[Difference, ...]:
    """Everything that the examples found, newly open first."""
    found: dict[tuple[_Way, str], dict[tuple[str, str], None]] = {}
    for method, host, path in _requests(old, new):
        url = f"http://{host}{path}" if host else path
        both = [_route(config, method, url) for config in (old, new)]
        for caller, client in _callers([route for route in both if route is not None], host, path):
            before, after = (
                explain(config.table, config.server, Asked(method, url, caller, client)) for config in (old, new)
            )
            way = _way(before, after)
            if way is not None:
                who = spelt_caller(caller) if client == LOOPBACK else f"{spelt_caller(caller)}, from {client}"
                found.setdefault((way, who), {})[f"{host}{path}", method] = None
    # Callers for whom the same requests change in the same way are told of together.
    together: dict[tuple[_Way, tuple[str, ...]], list[str]] = {}
    for (way, who), requests in found.items():
        together.setdefault((way, _spelt(requests)), []).append(who)
    all_found = [Difference(*way, requests, tuple(callers)) for (way, requests), callers in together.items()]
    return tuple(sorted(all_found, key=lambda one: list(Change).index(one.change)))


def _spelt(requests: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """One line for each address, with its methods."""
    methods: dict[str, list[str]] = {}
    for address, method in requests:
        methods.setdefault(address, []).append(method)
    return tuple(f"{' '.join(all_methods)} {address}" for address, all_methods in methods.items())


# --- examples -------------------------------------------------------------------------------------------------------


def _requests(old: Config, new: Config) -> Iterator[tuple[str, str, str]]:
    """Method, host ("" for the first public one) and path."""
    seen = set()
    for config in (old, new):
        for route in config.table.routes:
            others = {other for one in (old, new) for other in one.table.routes if _is_beside(other, route)}
            methods = sorted({"GET", "POST"}.union(*(methods_of(other) for other in others)))
            for path in _paths(route.path):
                for method in methods:
                    example = method, route.host.replace("*", _ANY, 1), path
                    if example not in seen:
                        seen.add(example)
                        yield example


def _is_beside(other: Route, route: Route) -> bool:
    return other.path == route.path and other.host == route.host


def _paths(pattern: str) -> list[str]:
    pieces = pattern_pieces(pattern)
    shown = [
        part if piece.rank is Rank.LITERAL else _ANY for part, piece in zip(pattern[1:].split("/"), pieces, strict=True)
    ]
    path = "/" + "/".join(shown)
    if pieces[-1].rank is not Rank.REST:
        return [path]
    # `/**` stands for `/` and for everything below.
    return [path.removesuffix(f"/{_ANY}") or "/", f"{path}/{_ANY}"]


def _route(config: Config, method: str, url: str) -> Route | None:
    return explain(config.table, config.server, Asked(method, url, Reason.NO_CREDENTIALS)).route


def _callers(routes: Sequence[Route], host: str, path: str) -> Iterator[tuple[Identity | Reason, str]]:
    """Whoever could be decided on differently, each from an address that the routes know and from another."""
    who: list[Mapping[str, object]] = [{"subject": _SESSION}, {"subject": _KEY}]
    for route in routes:
        if route.auth is not Auth.PUBLIC:
            places = range(_choices(route))
            who += [_fitting(route, kind, host, path, at) for kind in (_SESSION, _KEY) for at in places]
    clients = {LOOPBACK: None, _ELSEWHERE: None}
    clients |= {str(network[0]): None for route in routes for network in _networks(route)}
    for client in clients if any(_networks(route) for route in routes) else [LOOPBACK]:
        yield Reason.NO_CREDENTIALS, client
        for description in who:
            caller = imagined(description)
            if isinstance(caller, Identity):
                yield caller, client


def _networks(route: Route) -> list[Network]:
    return [network for one in route.conditions if isinstance(one, ClientWithin) for network in one.networks]


def _choices(route: Route) -> int:
    """How many callers it takes to have each of what the route's conditions let one choose from."""
    choices = [1]
    for condition in route.conditions:
        match condition:
            case RolesHeld(wanted) | PermissionsHeld(wanted):
                choices.append(len(wanted.any))
            case ClaimHeld(_, one_of, _):
                choices.append(len(one_of))
            case KeyIdIn(ids):
                choices.append(len(ids))
            case _:
                pass
    return min(max(choices), _MOST_CHOICES)


def _fitting(route: Route, subject: str, host: str, path: str, at: int) -> dict[str, object]:
    """A caller who meets the route's conditions and no more. at: which one of those to choose from."""
    grants: dict[str, object] = {}
    said: dict[str, object] = {"subject": subject}
    claims: dict[str, object] = {}
    for condition in route.conditions:
        match condition:
            case RolesHeld(wanted):
                grants["roles"] = _enough(wanted, at)
            case PermissionsHeld(wanted):
                grants["permissions"] = _enough(wanted, at)
            case ClaimHeld(name, one_of, all_of):
                values = [*all_of, *_one(one_of, at)]
                claims[name] = values[0] if len(values) == 1 else values
            case KeyIdIn(ids) if subject == _KEY:
                said["subject"] = _one(sorted(ids), at)[0]
            case _:
                pass
    if claims:
        said["claims"] = claims
    tenant = _tenant(route, host, path)
    if tenant is None:
        return said | grants
    selected = {"tenant": tenant} if isinstance(route.tenant_from, SelectedTenant) else {}
    return said | selected | {"tenants": {tenant: grants}}


def _enough(wanted: Wanted, at: int) -> list[str]:
    return [*wanted.all, *_one(wanted.any, at)]


def _one(values: Sequence[T], at: int) -> list[T]:
    return [values[at % len(values)]] if values else []


def _tenant(route: Route, host: str, path: str) -> str | None:
    match route.tenant_from:
        case None:
            return None
        case PathCapture(name):
            names = [piece.text if piece.rank is Rank.CAPTURE else "" for piece in pattern_pieces(route.path)]
            return path[1:].split("/")[names.index(name)]
        case HostLabel(index):
            return (host.split(".") + [_ANY] * (index + 1))[index]
        case ConstantTenant(value):
            return value
        case SelectedTenant():
            return "T2example"


# --- what differs -----------------------------------------------------------------------------------------------------


def _way(before: Account, after: Account) -> _Way | None:
    """How one example differs; None where it does not."""
    old, new = _onward(before), _onward(after)
    if before.is_admitted != after.is_admitted:
        change = Change.OPEN if after.is_admitted else Change.CLOSED
    elif before.outcome != after.outcome or old != new:
        change = Change.OTHER
    else:
        return None
    # The path that is sent is worth telling only where it is what differs.
    shows_path = old[0] == new[0] != ""
    return change, _told(before, shows_path), _told(after, shows_path)


def _onward(account: Account) -> tuple[str, str]:
    """Where an admitted request goes, and as which path."""
    if account.route is None or not isinstance(account.decision, Admit):
        return "", ""
    return account.route.upstream.name, account.sent_path


def _told(account: Account, shows_path: bool) -> tuple[str, str]:
    name, path = _onward(account)
    onward = f" to {name}{path if shows_path else ''}" if name else ""
    return f"{account.outcome}{onward}", account.route.id if account.route else ""
