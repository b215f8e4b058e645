"""What each reason means and what to do about it, as docs/reasons.md tells it; a test holds the two to each other."""

from gateway.core.model import Reason

MEANINGS: dict[Reason, tuple[str, ...]] = {
    Reason.NO_CREDENTIALS: (
        "Neither a session nor, where the route takes them, an access key.",
        (
            "Operator: if people are signed in and still get this, the cookie does not arrive: look at its "
            "domain, at `secure` on plain http, and at `server.cookies` in the route file."
        ),
    ),
    Reason.TOKEN_MALFORMED: (
        (
            "What came as a session token is not a JWT that we read: not three parts of plain base64url, "
            "duplicate members, no `kid`, `crit`, `b64` or `zip` in its header, no `exp` or no subject; or a "
            "JWT came in `X-API-Key`."
        ),
    ),
    Reason.TOKEN_UNKNOWN_KEY: (
        "Signed with a key that Descope does not publish. New keys are looked for at most once in 10 s.",
        "Operator: compare `descope.project_id` with the token's `iss`; look at `gateway_signing_keys_age_seconds`.",
    ),
    Reason.TOKEN_BAD_SIGNATURE: (
        (
            "The signature does not fit, or the algorithm is not the key's own. Tampering, or a token of "
            "another environment."
        ),
    ),
    Reason.TOKEN_EXPIRED: (
        "The session has run out and nothing renewed it: no refresh cookie came, or the token came as a bearer.",
        "Caller: renew at `POST /.auth/refresh`, or send the refresh cookie along.",
    ),
    Reason.TOKEN_NOT_YET_VALID: (
        "`nbf` or `iat` lie in the future by more than 5 s.",
        "Operator: set the clock of this machine.",
    ),
    Reason.TOKEN_WRONG_ISSUER: (
        "A genuine token of another project, or `iss` missing.",
        "Operator: check `descope.project_id`.",
    ),
    Reason.TOKEN_WRONG_AUDIENCE: (
        "`aud` is not among `descope.audience` (when that is empty: absent, or the project id).",
        "Operator: list the audience.",
    ),
    Reason.TOKEN_WRONG_KIND: (
        "A refresh token sent as a session, or the reverse.",
        "Caller: send the session token (`DS`, `sessionJwt`).",
    ),
    Reason.SESSION_REVOKED: (
        "The session was signed out through this gateway.",
        "Caller: sign in.",
    ),
    Reason.REFRESH_REFUSED: (
        (
            "Descope did not accept the refresh token, or it was spent already. No cookie is deleted: another "
            "request of the same browser may just have renewed."
        ),
        "Caller: sign in.",
        'Operator: if `gateway_refreshes_total{outcome="reused"}` grows, see several gateways.',
    ),
    Reason.ACCESS_KEY_REFUSED: (
        (
            "Descope does not know the key, or it has expired, is disabled or may not be used from here. "
            "Remembered for 10 s."
        ),
        (
            "Operator: look at the key in the Descope console, its expiry and its permitted IPs (it is *our* "
            "address that Descope sees)."
        ),
    ),
    Reason.AMBIGUOUS_CREDENTIALS: (
        (
            "Two credentials that prove different things: a session beside an access key on a route that takes "
            "both, a bearer token and a cookie of different subjects, several cookies of one name with "
            "different subjects, two `Authorization` lines."
        ),
        "Caller: send one. In a browser, delete the site's cookies.",
        (
            "Operator: look for a sibling site that sets `DS` or `DSR` on the parent domain, and give this "
            "gateway other cookie names."
        ),
    ),
    Reason.BAD_TARGET: (
        (
            "The path can be read in more than one way: dot segments, a double slash, a raw semicolon, an "
            "encoded slash, backslash, `?`, `#` or control character, bytes that are no UTF-8, non-ASCII "
            "without escapes, an escape inside an escape. Another reader might resolve it to another place than "
            "the one that was authorised. The same for an absolute target whose host is not `Host`."
        ),
        "Caller: write the address plainly.",
        "Operator: if a service really uses such paths, change its links; there is no switch.",
    ),
    Reason.BAD_REQUEST: (
        (
            "No well-formed HTTP/1.1: framing that contradicts itself, an unusable `Host` or one outside "
            "`server.hosts`, a body that is not what its head promised, a form without the fields it needs."
        ),
        "Caller: mend the client; `detail` says more where it is about a form.",
        "Operator: if every request is refused, compare `server.hosts` with the `Host` that your proxy sends.",
    ),
    Reason.LOGIN_STATE_INVALID: (
        (
            "A sign-in that left this site came back without being known here: this browser did not begin it, "
            "it took more than ten minutes, it was used already, or the cookie that remembers it did not come "
            "back."
        ),
        "Caller: start again from the page you wanted.",
        (
            "Operator: if it happens to everybody, cookies do not come back: look at `secure` on plain http and "
            "at `server.public_urls`, whose address must be the one in the browser."
        ),
    ),
    Reason.SESSION_NOT_KEPT: (
        (
            "A sign-in worked, and there is no session to go on with: the browser was at the sign-in page for "
            "the third time, or the session is too large for four cookies. The page and `detail` say why, as "
            "far as it can be told; the signs and their causes have a table of their own."
        ),
        "Caller: allow cookies for this site, or delete those that it has; then start again from the page you wanted.",
        (
            "Operator: look at `server.cookies` and `server.public_urls`, at the clocks of this machine and of "
            "others that serve the same site, and at what stands between browser and gateway and may drop large "
            "headers."
        ),
    ),
    Reason.SIGN_IN_REFUSED: (
        (
            "Descope refused what was sent to one of the sign-in endpoints: a wrong login, password or code, a "
            "link that was used or has run out, an account that may not sign in this way. Which of them is told "
            "to nobody; `idp_code` has Descope's error code where that says nothing about whether an account "
            "exists."
        ),
        "Caller: try again, or sign in another way.",
        "Operator: Descope's audit trail says more, by the time and the client's address.",
    ),
    Reason.ROLE_MISSING: (
        (
            "The caller lacks a role that `require.roles` asks for. With `require.tenant`, only roles held in "
            "that tenant count."
        ),
    ),
    Reason.PERMISSION_MISSING: (
        (
            "The caller lacks a permission that `require.permissions` asks for; with `require.tenant`, again in "
            "that tenant only."
        ),
    ),
    Reason.TENANT_MISMATCH: (
        "The caller is no member of the tenant that the route decides by, or has none selected.",
        "Caller: select one at `POST /.auth/tenant`.",
    ),
    Reason.CLAIM_MISMATCH: (
        (
            "A claim that `require.claims` asks for is absent or has another value. Types count: `true` is not "
            '`"true"`. Only root claims are read, never those a client may set (`nsec`).'
        ),
    ),
    Reason.KEY_NOT_ALLOWED: ("The access key's id is not in `require.key_ids`.",),
    Reason.CLIENT_NOT_ALLOWED: (
        "The client's address is in none of `require.clients`.",
        "Operator: behind another proxy, list it in `server.trusted_proxies`, or every client has the proxy's address.",
    ),
    Reason.WRONG_CREDENTIAL_KIND: (
        (
            "A genuine credential of the other kind: a key where the route takes sessions, or a session where "
            "it takes keys."
        ),
    ),
    Reason.CROSS_SITE: (
        "A request with cookies that another site's page made: a `POST` to `/.auth/`, an unsafe method, a WebSocket.",
        (
            "Operator: if that site is yours, name its origin in the route's `cors.origins`; if it is this "
            "site, put its origin into `server.public_urls`."
        ),
    ),
    Reason.NO_ROUTE: (
        "No route has this host and path. Nothing is forwarded without one.",
        'Operator: add a route; a last `path: "/"` catches all.',
    ),
    Reason.NOT_FOUND: ("Nothing of that name under `/.auth/`, which is the gateway's own and never forwarded.",),
    Reason.METHOD_NOT_ALLOWED: (
        (
            "The path has routes, none for this method; `Allow` names those there are. A wider route is never "
            "tried instead. CONNECT and TRACE are refused everywhere, without `Allow`."
        ),
    ),
    Reason.BODY_TOO_LARGE: (
        "The request body is larger than the route's `max_body`, or a form for `/.auth/` larger than 16 KiB.",
    ),
    Reason.HEADERS_TOO_LARGE: (
        (
            "A header line over 32 KiB, more than 200 lines, or more than 64 KiB in all "
            "(`server.header_limits`); a token over 8 KiB (16 KiB when joined from several cookies)."
        ),
        "Caller: delete the site's cookies.",
        "Operator: look for a service that sets many or large cookies.",
    ),
    Reason.RATE_LIMITED: (
        (
            "A limit of the route is used up, or one client tried to sign in too often (20 at once, then one "
            "every three seconds), or too many access keys that nobody knows were tried (at most 10 a minute "
            "for one client, 60 for all)."
        ),
        "Caller: wait as long as `Retry-After` says; whoever waits that long gets through.",
        "Operator: `gateway_limited_total`.",
    ),
    Reason.IDENTITY_PROVIDER_BUSY: (
        (
            "Descope answered 429. The operation rests for everybody until the wait it named is over; valid "
            "sessions are served meanwhile, nobody is signed out and no cookie is touched."
        ),
        "Caller: wait for `Retry-After`.",
        (
            "Operator: see `gateway_idp_rest_seconds`; if it comes back often, sessions are too short or "
            "`access_keys.remember` is."
        ),
    ),
    Reason.IDENTITY_PROVIDER_UNAVAILABLE: (
        (
            "Descope gave no usable answer in 5 s (10 s with waiting for a place), or there are no signing keys "
            "yet. As above, with a back-off of our own from 1 s to 60 s. With several workers also for an instant "
            "while the process that asks Descope is replaced; the log says `the keeper is gone`."
        ),
        "Operator: name resolution, firewall, proxy settings (`HTTPS_PROXY`), Descope's status page.",
    ),
    Reason.UPSTREAM_BUSY: (
        (
            "Either the upstream asked for a pause with `Retry-After`, and its `retry_after: hold` says to "
            "honour it: at most 30 s, and one request a second goes on as a probe. Or all its `connections` are "
            "in use, and the line of those who wait is full, or `wait` was over."
        ),
        "Caller: wait for `Retry-After`; nothing of the request was sent.",
        (
            "Operator: see `gateway_upstream_connections` and `gateway_upstream_waiting`: is the service slow, "
            "is `max` too small, do WebSockets hold the places?"
        ),
    ),
    Reason.STOPPING: (
        (
            "The gateway is stopping. No request is answered with it: while it stops, connections end after "
            "their reply and new ones are not accepted. Open streams are ended with it."
        ),
    ),
    Reason.UPSTREAM_UNREACHABLE: (
        "No connection to the upstream (502), or its certificate was not accepted.",
        (
            "Operator: is the service up, does it listen where `upstreams` says? The log line `exchange failed` "
            "has the target and the cause."
        ),
    ),
    Reason.UPSTREAM_BAD_REPLY: (
        (
            "The upstream's reply is no HTTP that may be passed on (502): framing that contradicts itself, a "
            "head over 256 KiB, a status that nobody asked for, the connection closed half way. The log line "
            "`exchange failed` names the cause."
        ),
    ),
    Reason.UPSTREAM_TIMEOUT: (
        (
            "No connection within `timeouts.connect`, no head within `timeouts.response`, or a body that "
            "stopped for `timeouts.idle` (504). Once a reply has begun the connection ends instead, so that "
            "nobody takes half for whole."
        ),
    ),
    Reason.INTERNAL_ERROR: (
        (
            "A bug of ours (500). The request was not forwarded, or its reply was cut off. The log line "
            "`internal error` with the same request id names the place. Please report it."
        ),
    ),
}
