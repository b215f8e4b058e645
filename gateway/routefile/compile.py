"""From pieces of the route file, whose shape is right, to the nouns of the core."""

import json
from collections.abc import Iterator, Mapping

from gateway.core.forwarded import Dialect, ForwardAuth
from gateway.core.model import (
    AccessKeyRules,
    Auth,
    ClaimHeld,
    ClientWithin,
    Condition,
    ConnectionRules,
    CookieRules,
    Cors,
    EjectRules,
    ExchangeOptions,
    ForwardToken,
    HeaderRules,
    HeadLimits,
    HealthRules,
    KeyIdIn,
    Limit,
    ListenerTls,
    Per,
    PermissionsHeld,
    RefreshRules,
    RetryRules,
    RolesHeld,
    Route,
    ServerRules,
    ServiceTarget,
    ShutdownRules,
    StreamRules,
    Timeouts,
    TlsRules,
    TokenRules,
    Upstream,
    Wanted,
)
from gateway.core.patterns import canonical_host
from gateway.core.signin import DESCOPE_STATIC_URL
from gateway.routefile.identity_headers import identity_headers
from gateway.routefile.rules import Cors as CorsSpec
from gateway.routefile.rules import Headers, Require
from gateway.routefile.rules import Route as RouteSpec
from gateway.routefile.rules import Stream as StreamSpec
from gateway.routefile.rules import Timeouts as TimeoutsSpec
from gateway.routefile.rules import Wanted as WantedSpec
from gateway.routefile.schema import AccessKeys, Defaults, Descope, Doors, Refresh, Server, Shutdown
from gateway.routefile.schema import Limit as LimitSpec
from gateway.routefile.services import Tls
from gateway.routefile.services import Upstream as UpstreamSpec
from gateway.routefile.urls import (
    UpstreamAddress,
    base_url,
    cors_origin,
    exact_host,
    network,
    origin,
    trusted_network,
    upstream_address,
)
from gateway.routefile.values import (
    audience,
    duration_s,
    prefix_path,
    rate,
    share,
    size_bytes,
    statuses,
    template,
    tenant_source,
)


def token_rules(spec: Descope, cookies: CookieRules) -> TokenRules:
    names = tuple(dict.fromkeys(("DSR", cookies.refresh)))
    return TokenRules(spec.project_id, tuple(spec.audience), refresh_names=names)


def descope_url(spec: Descope) -> str:
    return base_url(spec.base_url)


def static_url(spec: Descope) -> str:
    """Where flows' screens lie; a custom domain and the emulator have them below their API."""
    own = f"{base_url(spec.base_url)}/pages" if spec.base_url else DESCOPE_STATIC_URL
    return base_url(spec.static_url) or own


def server_rules(spec: Server) -> ServerRules:
    cookies = spec.cookies
    return ServerRules(
        public_urls=tuple(dict.fromkeys(map(origin, spec.public_urls))),
        hosts=frozenset(map(exact_host, spec.hosts)),
        trusted_proxies=tuple(map(trusted_network, spec.trusted_proxies)),
        cookies=CookieRules(
            session=cookies.session,
            refresh=cookies.refresh,
            secure=cookies.secure,
            same_site=cookies.same_site,
            domain=exact_host(cookies.domain) if cookies.domain else "",
            path=cookies.path,
        ),
        head_limits=HeadLimits(
            size_bytes(spec.header_limits.total), size_bytes(spec.header_limits.line), spec.header_limits.lines
        ),
        tls=ListenerTls(spec.tls.cert, spec.tls.key or "", spec.tls.min_version) if spec.tls is not None else None,
    )


def refresh_rules(spec: Refresh) -> RefreshRules:
    return RefreshRules(duration_s(spec.grace), duration_s(spec.ahead))


def access_key_rules(spec: AccessKeys) -> AccessKeyRules:
    return AccessKeyRules(duration_s(spec.remember), duration_s(spec.max_stale))


def shutdown_rules(spec: Shutdown) -> ShutdownRules:
    return ShutdownRules(duration_s(spec.delay), duration_s(spec.grace))


def forward_auth(spec: Doors) -> ForwardAuth | None:
    asked = spec.forward_auth
    return ForwardAuth(Dialect(asked.dialect), asked.renew) if asked is not None else None


def upstream(name: str, spec: UpstreamSpec) -> Upstream:
    """Without an address where the file says none: then it is not served."""
    found, *others = [upstream_address(url) for url in spec.addresses] or [UpstreamAddress(authority="")]
    lowest, highest = statuses(spec.health.expect) if spec.health else (0, 0)
    return Upstream(
        name=name,
        authority=found.authority,
        address=found.address,
        port=found.port,
        socket_path=found.socket_path,
        tls=found.tls,
        base_path=found.base_path,
        keep_host=spec.host == "preserve",
        hold_on_retry_after=spec.retry_after == "hold",
        forward_token=ForwardToken(spec.forward_token or "false"),
        profile=spec.profile,
        others=tuple(ServiceTarget(one.address, one.port, one.socket_path) for one in others),
        connections=ConnectionRules(
            spec.connections.max,
            spec.connections.queue,
            duration_s(spec.connections.wait),
            duration_s(spec.connections.keep_alive),
        ),
        health=HealthRules(
            spec.health.path,
            duration_s(spec.health.interval),
            duration_s(spec.health.timeout),
            spec.health.healthy_after,
            spec.health.unhealthy_after,
            lowest,
            highest,
        )
        if spec.health
        else None,
        eject=EjectRules(spec.eject.after, duration_s(spec.eject.span)),
        retry=RetryRules(share(spec.retry.budget), spec.retry.floor),
        tls_rules=tls_rules(spec.tls) if spec.tls else TlsRules(),
        identity_headers=identity_headers(spec.identity_headers),
        assertion=audience(spec.assertion, name),
    )


def tls_rules(spec: Tls) -> TlsRules:
    return TlsRules(spec.ca or "", spec.server_name or "", spec.cert or "", spec.key or "")


def limit(name: str, spec: LimitSpec) -> Limit:
    return Limit(name, rate(spec.rate, spec.burst), Per(spec.per))


def route(spec: RouteSpec, defaults: Defaults, to: Upstream, limits: Mapping[str, Limit]) -> Route:
    auth = Auth(spec.auth)
    require = spec.require
    cors_spec = spec.cors or defaults.cors
    keys = spec.access_keys
    return Route(
        id=spec.id,
        path=spec.match.path,
        upstream=to,
        host=canonical_host(spec.match.host or ""),
        methods=frozenset(spec.match.methods) if spec.match.methods else None,
        auth=auth,
        tenant_from=tenant_source(require.tenant) if require and require.tenant else None,
        conditions=tuple(_conditions(require)) if require else (),
        limits=_limits(spec, defaults, limits, auth),
        timeouts=_timeouts(spec.timeouts, defaults.timeouts),
        stream=_stream(spec.stream, defaults.stream),
        max_body_bytes=size_bytes(spec.max_body or defaults.max_body),
        strip_prefix=prefix_path(spec.rewrite.strip_prefix) if spec.rewrite else "",
        header_rules=_header_rules(defaults.headers, spec.headers),
        cors=_cors(cors_spec) if cors_spec else None,
        exchange=ExchangeOptions(_canonical_json(keys.claims), keys.tenant or "") if keys else ExchangeOptions(),
        flow=spec.flow or "",
    )


def _canonical_json(claims: Mapping[str, object]) -> str:
    """One text for equal claims, whatever their order in the file: it is part of what an exchange is remembered by."""
    return json.dumps(claims, sort_keys=True, separators=(",", ":"), allow_nan=False) if claims else ""


def _conditions(require: Require) -> Iterator[Condition]:
    if require.clients:
        yield ClientWithin(tuple(map(network, require.clients)))
    if require.key_ids:
        yield KeyIdIn(frozenset(require.key_ids))
    if require.roles:
        yield RolesHeld(_wanted(require.roles))
    if require.permissions:
        yield PermissionsHeld(_wanted(require.permissions))
    for name, values in (require.claims or {}).items():
        yield ClaimHeld(name, tuple(values.any or ()), tuple(values.all or ()))


def _wanted(spec: WantedSpec) -> Wanted:
    return Wanted(tuple(spec.any or ()), tuple(spec.all or ()))


def _limits(spec: RouteSpec, defaults: Defaults, limits: Mapping[str, Limit], auth: Auth) -> tuple[Limit, ...]:
    names = defaults.limit if spec.limit is None else spec.limit
    found = [limits[name] for name in dict.fromkeys(names) if name in limits]
    # Nobody is known on a public route, so of the defaults only those that need nobody count there.
    return tuple(one for one in found if auth is not Auth.PUBLIC or one.per is Per.CLIENT)


def _timeouts(own: TimeoutsSpec, fallback: TimeoutsSpec) -> Timeouts:
    built_in = Timeouts()
    return Timeouts(
        _chosen_s(own.connect, fallback.connect, built_in.connect_s),
        _chosen_s(own.response, fallback.response, built_in.response_s),
        _chosen_s(own.idle, fallback.idle, built_in.idle_s),
    )


def _stream(own: StreamSpec, fallback: StreamSpec) -> StreamRules:
    built_in = StreamRules()
    return StreamRules(
        _chosen_s(own.after_expiry, fallback.after_expiry, built_in.after_expiry_s),
        _chosen_s(own.revalidate, fallback.revalidate, built_in.revalidate_s),
        _chosen_s(own.max_age, fallback.max_age, built_in.max_age_s),
    )


def _chosen_s(mine: str | None, theirs: str | None, last: float) -> float:
    text = mine or theirs
    return duration_s(text) if text else last


def _header_rules(fallback: Headers, own: Headers) -> HeaderRules:
    """The defaults' headers and the route's own, which win; what a route removes, the defaults do not set."""
    removed = frozenset(name.lower() for name in own.remove)
    chosen = {name.lower(): (name, text) for name, text in fallback.set.items() if name.lower() not in removed}
    chosen |= {name.lower(): (name, text) for name, text in own.set.items()}
    return HeaderRules(
        tuple((name, template(text)) for name, text in chosen.values()),
        frozenset(name.encode("ascii") for name in removed | {name.lower() for name in fallback.remove}),
    )


def _cors(spec: CorsSpec) -> Cors:
    plain = Cors(())
    return Cors(
        origins=tuple(dict.fromkeys(map(cors_origin, spec.origins))),
        methods=tuple(spec.methods) if spec.methods else plain.methods,
        headers=tuple(spec.headers),
        credentials=spec.credentials,
        max_age_s=int(duration_s(spec.max_age)),
    )
