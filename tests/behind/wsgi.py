"""Services that know nothing about the gateway, on servers that fold header names as CGI does."""

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from tests.conftest import LOOPBACK

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the library's
        pass


class _Server(WSGIServer):
    daemon_threads = True


@contextmanager
def served(application: "WSGIApplication") -> Iterator[int]:
    """A WSGI application in a thread of its own; yields its port."""
    with make_server(LOOPBACK, 0, application, _Server, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def headers_seen(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """The plain application: what CGI variables it was given for headers."""
    seen = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(seen).encode()]
