"""The emulator on the network: from HTTP to `Call`, from `Answer` to HTTP, and the listener.

Paths are looked up in one table after leading slashes are made one: the Python SDK, given a base URL with a trailing
slash, asks for `//v1/auth/me`.
"""

import asyncio
import ipaddress
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web
from multidict import CIMultiDict

from gateway.emulator.auth_api import auth_endpoints
from gateway.emulator.control import control_endpoints
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import ApiError, error_body, own_code
from gateway.emulator.federation_api import federation_endpoints
from gateway.emulator.flow_api import flow_endpoints
from gateway.emulator.inbox_pages import inbox_endpoints
from gateway.emulator.link_api import link_endpoints
from gateway.emulator.management_api import management_endpoints
from gateway.emulator.otp_api import otp_endpoints
from gateway.emulator.password_api import password_endpoints
from gateway.emulator.provider_pages import provider_endpoints
from gateway.emulator.totp_api import totp_endpoints
from gateway.emulator.traffic import Fault, Operation, RequestRecord
from gateway.emulator.wire import Answer, Call, Endpoint, Endpoints

DEVELOPMENT_NOTICE = (
    "This is a local emulator of Descope, for development and tests only. It proves nobody's identity, "
    "and everything it knows is in memory and lost when it ends."
)
MARK = ("X-Descope-Emulator", "development-only")

_LOG = logging.getLogger(__name__)
_PROTOCOL_LOG = logging.getLogger(f"{__name__}.protocol")
# A request still waiting out a fault's delay must not hold up the end of a test.
_STOP_WITHIN_S = 0.25
_EMULATOR = web.AppKey("emulator", Emulator)
_ENDPOINTS: web.AppKey[Endpoints] = web.AppKey("endpoints")
_FOR_BROWSERS = ("/v1/auth/", "/v2/keys/", "/v1/flow/", "/pages/")
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


def _without_quotes(record: logging.LogRecord) -> bool:
    """Keep from the log what the web server quotes of a malformed request, credentials included."""
    record.exc_info = record.exc_text = None
    return True


_PROTOCOL_LOG.addFilter(_without_quotes)


class NotLoopbackError(ValueError):
    """The emulator was to listen where other machines can reach it, and was told so only once."""


def build_app(emulator: Emulator) -> web.Application:
    """The emulator as an application for a server of one's own."""
    app = web.Application(middlewares=[_errors_as_descope])
    app[_EMULATOR] = emulator
    app[_ENDPOINTS] = all_endpoints(emulator.project_id)
    app.on_response_prepare.append(_mark)
    # (?s:.*): without it a path with an encoded line feed would be nobody's.
    app.router.add_route("*", "/{path:(?s:.*)}", _answer)
    return app


def all_endpoints(project_id: str) -> Endpoints:
    """Everything that answers, by method and path."""
    return {
        **auth_endpoints(project_id),
        **password_endpoints(),
        **otp_endpoints(),
        **link_endpoints(),
        **totp_endpoints(),
        **federation_endpoints(),
        **flow_endpoints(project_id),
        **provider_endpoints(),
        **inbox_endpoints(),
        **management_endpoints(),
        **control_endpoints(),
    }


@asynccontextmanager
async def serve(emulator: Emulator, host: str, port: int, *, allow_remote: bool = False) -> AsyncIterator[str]:
    """Listen for as long as the context lasts; gives the base URL.

    port: 0 for any that is free. Raises NotLoopbackError for an address that other machines reach, unless
    `allow_remote`, and OSError when the address cannot be had.
    """
    address = "127.0.0.1" if host == "localhost" else host
    if not allow_remote and not _is_loopback(address):
        raise NotLoopbackError(
            f"the emulator is for development and listens on loopback only, not on {host!r}; "
            "use 127.0.0.1, or add --allow-remote if other machines shall reach it"
        )
    runner = web.AppRunner(build_app(emulator), access_log=None, logger=_PROTOCOL_LOG, shutdown_timeout=_STOP_WITHIN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port).start()
        bound_host, bound_port = runner.addresses[0][:2]
        yield _base_url(bound_host, bound_port)
    finally:
        await runner.cleanup()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _base_url(host: str, port: int) -> str:
    """Where this machine finds the listener: an unspecified address is reached over loopback."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not bound to
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


async def _mark(request: web.Request, response: web.StreamResponse) -> None:
    """Every answer says whose it is; browsers may read those of the public API from any origin, as with Descope."""
    response.headers[MARK[0]] = MARK[1]
    response.headers.setdefault("Cache-Control", "no-store")
    origin = request.headers.get("Origin")
    if origin and _path(request).startswith(_FOR_BROWSERS):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Access-Control-Expose-Headers"] = f"X-Descope-Flow-Nonce, x-geo, Retry-After, {MARK[0]}"
        response.headers.add("Vary", "Origin")


@web.middleware
async def _errors_as_descope(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as err:
        return _error(err)
    except web.HTTPException as err:
        return _error(ApiError(err.status, err.reason))
    except Exception:  # noqa: BLE001 - the outermost place: a bug, too, answers in the shape that clients read
        _LOG.exception("the emulator failed on %s %s", request.method, _path(request))
        return _error(ApiError(500, "The emulator has a bug; its log says where"))


async def _answer(request: web.Request) -> web.StreamResponse:
    emulator, path = request.app[_EMULATOR], _path(request)
    if request.method == "OPTIONS" and path.startswith(_FOR_BROWSERS):
        return _preflight(request)
    if _is_foreign_page(request, path):
        raise ApiError(403, "Pages of other origins may use the public API only")
    endpoint = _endpoint(request.app[_ENDPOINTS], request.method, path)
    call = Call(
        path=path,
        query=request.query,
        raw_body=await request.read(),
        raw_authorization=request.headers.get("Authorization", ""),
        cookies=request.cookies,
        address=request.remote or "",
        base_url=f"{request.scheme}://{request.host}",
        flow_nonce=request.headers.get("X-Descope-Flow-Nonce", ""),
    )
    if endpoint.operation is None:
        return _response(endpoint.serve(emulator, call))
    fault = emulator.traffic.arrive(endpoint.operation)
    if fault is not None and fault.delay_s:
        await asyncio.sleep(fault.delay_s)
    response = _faulty(fault, fault.status) if fault is not None and fault.status else _served(emulator, endpoint, call)
    emulator.traffic.record(RequestRecord(emulator.now_s(), endpoint.operation, request.method, path, response.status))
    return response


def _served(emulator: Emulator, endpoint: Endpoint, call: Call) -> web.Response:
    try:
        return _response(endpoint.serve(emulator, call))
    except ApiError as err:
        return _error(err)


def _path(request: web.Request) -> str:
    return re.sub(r"^/+", "/", request.path)


def _endpoint(endpoints: Endpoints, method: str, path: str) -> Endpoint:
    """What answers here; what answers that there is nothing is an endpoint too, so that it is logged."""
    found = endpoints.get(("GET" if method == "HEAD" else method, path))
    if found is not None:
        return found
    allowed = sorted(known for known, place in endpoints if place == path)

    def refuse(_emulator: Emulator, _call: Call) -> Answer:
        if allowed:
            raise ApiError(405, f"This takes {' or '.join(allowed)}")
        raise ApiError(404, "The emulator has no such endpoint, or another project id")

    return Endpoint(refuse, Operation.UNKNOWN)


def _is_foreign_page(request: web.Request, path: str) -> bool:
    """Whether a web page of another origin asks for what no web page has any business with.

    A page anybody may have written must not turn the controls of an emulator on the reader's own machine.
    """
    origin = request.headers.get("Origin")
    return origin is not None and not path.startswith(_FOR_BROWSERS) and urlsplit(origin).netloc != request.host


def _preflight(request: web.Request) -> web.Response:
    wanted = request.headers.get("Access-Control-Request-Headers", "")
    headers = {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Max-Age": "600"}
    if wanted:
        headers["Access-Control-Allow-Headers"] = wanted
    return web.Response(status=204, headers=headers)


def _response(answer: Answer) -> web.Response:
    text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
    response = web.Response(
        text=text, status=answer.status, content_type=answer.content_type, headers=CIMultiDict(answer.headers)
    )
    for cookie in answer.cookies:
        # Not Secure: the emulator speaks plain HTTP, where such a cookie would not stick.
        response.set_cookie(
            cookie.name, cookie.value, max_age=cookie.max_age_s, path="/", httponly=True, samesite="Strict"
        )
    return response


def _error(err: ApiError) -> web.Response:
    waiting = () if err.retry_after_s is None else (("Retry-After", str(err.retry_after_s)),)
    return _response(Answer(error_body(err.status, err.code, err.description), err.status, headers=waiting))


def _faulty(fault: Fault, status: int) -> web.Response:
    body = error_body(status, own_code(status), "A fault that the emulator was told to show")
    given = fault.body if fault.body is not None else body
    kind = "text/plain; charset=utf-8" if isinstance(given, str) else "application/json"
    headers = CIMultiDict[str]()
    for name, value in fault.headers.items():
        headers.extend((name, one) for one in ([value] if isinstance(value, str) else value))
    headers.setdefault("Content-Type", kind)
    text = given if isinstance(given, str) else json.dumps(given)
    return web.Response(body=None if status in _BODILESS else text.encode(), status=status, headers=headers)
