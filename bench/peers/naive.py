"""What people write: an aiohttp application with one catch-all route, a ClientSession, a decode for each request."""

import argparse
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import jwt
import uvloop
from aiohttp import web

NOT_FORWARDED = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "x-user"}

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--upstream", required=True)
parser.add_argument("--pem", type=Path, required=True)
parser.add_argument("--issuer", required=True)
parser.add_argument("--log", action="store_true")
options = parser.parse_args()
key = options.pem.read_text(encoding="utf-8")
session_key = web.AppKey("session", aiohttp.ClientSession)


async def forward(request: web.Request) -> web.StreamResponse:
    bearer = request.headers.get("Authorization", "")
    token = bearer[7:] if bearer[:7].lower() == "bearer " else request.cookies.get("DS", "")
    try:
        claims = jwt.decode(token, key, algorithms=["RS256"], issuer=options.issuer, options={"require": ["exp"]})
    except jwt.InvalidTokenError:
        return web.Response(status=401)
    headers = {name: value for name, value in request.headers.items() if name.lower() not in NOT_FORWARDED}
    headers["X-User"] = claims["sub"]
    body = request.content if request.can_read_body else None
    session = request.app[session_key]
    async with session.request(
        request.method, options.upstream + str(request.rel_url), headers=headers, data=body, allow_redirects=False
    ) as reply:
        kept = {name: value for name, value in reply.headers.items() if name.lower() not in NOT_FORWARDED}
        response = web.StreamResponse(status=reply.status, headers=kept)
        await response.prepare(request)
        async for piece in reply.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


async def connections(app: web.Application) -> AsyncIterator[None]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        app[session_key] = session
        yield


app = web.Application(client_max_size=2**31)
app.router.add_route("*", "/{path:.*}", forward)
app.cleanup_ctx.append(connections)
if options.log:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
uvloop.install()
access_log = logging.getLogger("aiohttp.access") if options.log else None
web.run_app(app, host="127.0.0.1", port=options.port, access_log=access_log, print=None, backlog=4096)
