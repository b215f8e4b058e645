"""The service that the demo protects: plain WSGI, written as if nobody had ever heard of sign-in.

It believes whatever identity headers reach it, as such services do, and shows what it was given. It runs on the
standard library's WSGI server, one thread a connection. That server knows no WebSocket, so `sockets` speaks it over
the connection before WSGI is asked.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from html import escape
from io import BytesIO
from pathlib import Path
from socket import AF_UNIX, SHUT_RDWR, socket
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from gateway.demo import pages, sockets

_LINE_BYTES = 65536
_BODY_BYTES = 16 * 1024 * 1024
_EVENT_EVERY_S = 1.0
_STOP_WITHIN_S = 5.0

StartResponse = Callable[[str, list[tuple[str, str]]], object]


class Legacy:
    """The service in a thread of its own, on loopback or on a Unix socket; nobody else's machine reaches either.

    place: a port, 0 for any that is free, or the path of a Unix socket; OSError where it cannot be had. sign_out: where
    the home page's button posts to, "" for no button.
    """

    def __init__(self, place: int | str = 0, *, sign_out: str = "") -> None:
        self._stopping = threading.Event()
        self._sign_out = sign_out
        self._server = _Server(("127.0.0.1", place), _Connection) if isinstance(place, int) else _UnixServer(place)
        self._server.set_app(self._serve)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="legacy", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, as route files write it: no slash at its end."""
        if isinstance(self._server, _UnixServer):
            return f"unix:{self._server.path}"
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> str:
        """Begin to serve; returns the base URL."""
        self._thread.start()
        return self.url

    def stop(self) -> None:
        """End every connection and give the port back."""
        self._stopping.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(_STOP_WITHIN_S)
        self._server.end_connections()
        self._server.server_close()

    # --- WSGI -------------------------------------------------------------------------------------------------------

    def _serve(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        match path:
            case "/static/site.css":
                return _reply(start_response, "200 OK", "text/css; charset=utf-8", pages.STYLE)
            case "/events":
                headers = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")]
                start_response("200 OK", headers)
                return self._events(environ.get("HTTP_X_AUTH_SUBJECT", ""))
            case "/events/page":
                return _reply(start_response, "200 OK", pages.HTML, pages.page("Events", pages.EVENTS))
            case "/ws/page":
                return _reply(start_response, "200 OK", pages.HTML, pages.page("WebSocket", pages.WEBSOCKET))
            case "/ws":
                return _reply(start_response, "426 Upgrade Required", "text/plain", "This address speaks WebSocket.\n")
            case _:
                return self._shown(environ, start_response)

    def _shown(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Everything else shows what arrived: a page for people, JSON for programs."""
        title, sentence = pages.about(environ["PATH_INFO"])
        headers: list[tuple[str, str]] = environ["legacy.headers"]
        body = environ["wsgi.input"].read()
        if "text/html" not in environ.get("HTTP_ACCEPT", ""):
            shown = {
                "page": title,
                "method": environ["REQUEST_METHOD"],
                "path": environ["legacy.target"],
                "headers": _joined(headers),
                "body_bytes": len(body),
            }
            return _reply(start_response, "200 OK", "application/json", json.dumps(shown, indent=2) + "\n")
        parts = [f"<p>{escape(sentence)}</p>", pages.identity_table(headers)]
        if environ["PATH_INFO"] == "/":
            parts.append(pages.links(self._sign_out))
        else:
            parts.append(pages.request_table(environ["REQUEST_METHOD"], environ["legacy.target"], headers))
        return _reply(start_response, "200 OK", pages.HTML, pages.page(title, "\n".join(parts)))

    def _events(self, subject: str) -> Iterator[bytes]:
        """One event a second until somebody has enough."""
        number = 0
        while not self._stopping.is_set():
            number += 1
            told = json.dumps({"number": number, "subject": subject or None})
            yield f"id: {number}\nevent: tick\ndata: {told}\n\n".encode()
            self._stopping.wait(_EVENT_EVERY_S)


def _joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _reply(start_response: StartResponse, status: str, kind: str, text: str) -> list[bytes]:
    body = text.encode()
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


# --- the server underneath ------------------------------------------------------------------------------------------


class _Server(ThreadingMixIn, WSGIServer):
    """The standard WSGI server with a thread a connection, which can be told to end them all."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], connection: type[WSGIRequestHandler]) -> None:
        self._open: set[socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, connection)

    def server_bind(self) -> None:
        # Not HTTPServer's own: that asks the name service who we are, which may take seconds without a network.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hung up is no news."""


class _UnixServer(_Server):
    """The same on a Unix socket, which whoever may write to its folder's group may reach."""

    address_family = AF_UNIX

    def __init__(self, path: str) -> None:
        self.path = path
        # Left behind by a run that was killed; whoever listens there still is not asked, for it is ours alone.
        Path(path).unlink(missing_ok=True)
        super().__init__(("", 0), _Connection)

    def server_bind(self) -> None:
        self.socket.bind(self.path)
        Path(self.path).chmod(0o660)
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()

    def get_request(self) -> tuple[socket, Any]:
        connection, _ = self.socket.accept()
        return connection, ("127.0.0.1", 0)  # Unix clients have no address, and WSGI wants one

    def server_close(self) -> None:
        super().server_close()
        Path(self.path).unlink(missing_ok=True)


class _Connection(WSGIRequestHandler):
    """One request: read whole, then given to WSGI, or to the WebSocket echo."""

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline(_LINE_BYTES + 1)
        if len(self.raw_requestline) > _LINE_BYTES:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
            return
        if not self.raw_requestline or not self.parse_request():
            return
        if self.path.partition("?")[0] == "/ws" and sockets.is_handshake(self.headers):
            sockets.echo(self.rfile, self.wfile, self.headers["Sec-WebSocket-Key"])
            return
        body = self._body()
        if body is None:
            self.send_error(413)
            return
        environ = self.get_environ()
        environ["legacy.headers"] = list(self.headers.items())
        environ["legacy.target"] = self.path
        # Typed for the standard library's own buffers only; any binary stream will do.
        handler = ServerHandler(BytesIO(body), self.wfile, self.get_stderr(), environ)  # type: ignore[arg-type]
        handler.request_handler = self  # type: ignore[attr-defined]  # what WSGIRequestHandler.handle does as well
        app = self.server.get_app()  # type: ignore[attr-defined]  # a WSGIServer always
        handler.run(app)

    def _body(self) -> bytes | None:
        """The whole body, chunked or not; None where it is larger than this service takes."""
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            length = self.headers.get("Content-Length", "0")
            size = int(length) if length.isdigit() else 0
            return None if size > _BODY_BYTES else self.rfile.read(size)
        body = bytearray()
        while size := int(self.rfile.readline(_LINE_BYTES).partition(b";")[0] or b"0", 16):
            if len(body) + size > _BODY_BYTES:
                return None
            body += self.rfile.read(size)
            self.rfile.readline(_LINE_BYTES)
        while self.rfile.readline(_LINE_BYTES).strip():
            pass
        return bytes(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """The gateway in front has the request log."""
