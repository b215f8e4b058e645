"""The pages of the demo's service. Everything that came with a request is escaped."""

import re
from html import escape

HTML = "text/html; charset=utf-8"

STYLE = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
header { border-bottom: 2px solid #8886; margin-bottom: 1.5rem; }
header a { color: inherit; text-decoration: none; }
h1 { font-size: 1.4rem; margin: 0 0 .5rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-top: 1px solid #8884; }
td { font-family: ui-monospace, monospace; font-size: .9rem; overflow-wrap: anywhere; }
button, input { font: inherit; padding: .3rem .8rem; }
pre { padding: .8rem; border: 1px solid #8886; min-height: 8rem; overflow-x: auto; }
"""

_LINKS = (
    ("/welcome", "Welcome", "public: no sign-in needed"),
    ("/admin/", "Administration", "for people with the role admin"),
    ("/t/acme/docs/", "Documents of acme", "for members of the tenant acme who may read documents"),
    ("/t/globex/docs/", "Documents of globex", "the same for the tenant globex"),
    ("/events/page", "Events", "a page that listens to server-sent events"),
    ("/ws/page", "WebSocket", "a page that talks over a WebSocket"),
    ("/echo", "Echo", "everything that arrived with the request"),
)

EVENTS = """\
<p>One event a second, as it comes, from <code>/events</code>:</p>
<pre id="heard" aria-live="polite"></pre>
<script>
  const heard = document.getElementById("heard");
  const events = new EventSource("/events");
  events.addEventListener("tick", (event) => { heard.textContent += event.data + "\\n"; });
  events.onerror = () => { heard.textContent += "(the stream ended; the browser tries again)\\n"; };
</script>
"""

WEBSOCKET = """\
<p>What you send to <code>/ws</code> comes back:</p>
<form id="form"><label>Message <input id="words" autocomplete="off" value="hello"></label> <button>Send</button></form>
<pre id="heard" aria-live="polite"></pre>
<script>
  const heard = document.getElementById("heard");
  const tell = (text) => { heard.textContent += text + "\\n"; };
  const socket = new WebSocket((location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/ws");
  socket.onopen = () => tell("(open)");
  socket.onmessage = (event) => tell(event.data);
  socket.onclose = (event) => tell("(closed, " + event.code + ")");
  document.getElementById("form").onsubmit = (event) => {
    event.preventDefault();
    socket.send(document.getElementById("words").value);
  };
</script>
"""


def about(path: str) -> tuple[str, str]:
    """What the page at `path` is called, and its one sentence."""
    tenant = re.match(r"/t/([^/]+)/docs(?:/|$)", path)
    if tenant:
        return f"Documents of {tenant[1]}", f"Whoever sees this may read the documents of {tenant[1]}."
    match path.split("/")[1] if path.startswith("/") else "":
        case "":
            return "Home", "This service knows nothing of sign-in. It shows who the gateway says you are."
        case "welcome":
            return "Welcome", "Everybody may read this page."
        case "admin":
            return "Administration", "Whoever sees this has the role admin."
        case "jobs":
            return "Jobs", "Programs start jobs here."
        case _:
            return "Echo", "This is what arrived."


def page(title: str, content: str) -> str:
    """A whole page around `content`, which is HTML already."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} - a legacy service</title>\n"
        '<link rel="stylesheet" href="/static/site.css">\n</head>\n<body>\n'
        f'<header><a href="/">A legacy service</a></header>\n<main>\n<h1>{escape(title)}</h1>\n{content}\n</main>\n'
        "</body>\n</html>\n"
    )


def identity_table(headers: list[tuple[str, str]]) -> str:
    """The identity headers that came with the request."""
    given = [(name, value) for name, value in headers if name.lower().startswith("x-auth-")]
    if not given:
        return "<p>No identity header came with this request.</p>"
    return _table("Who the gateway says you are", given)


def request_table(method: str, target: str, headers: list[tuple[str, str]]) -> str:
    """Everything else that came with the request."""
    others = [(name, value) for name, value in headers if not name.lower().startswith("x-auth-")]
    return _table("The request as it arrived here", [("Method", method), ("Path", target), *others])


def links(sign_out: str) -> str:
    """Where the home page leads to. sign_out: where its button posts to, "" for none."""
    items = "\n".join(f'<li><a href="{path}">{name}</a>: {what}</li>' for path, name, what in _LINKS)
    form = f'<form method="post" action="{escape(sign_out)}"><button>Sign out</button></form>' if sign_out else ""
    return f"<ul>\n{items}\n</ul>\n{form}"


def _table(caption: str, rows: list[tuple[str, str]]) -> str:
    cells = "\n".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>\n<caption>{escape(caption)}</caption>\n{cells}\n</table>"
