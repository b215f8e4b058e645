"""The inbox: as a page for people, and as JSON for tests. Codes and links are shown here and nowhere else."""

from gateway.emulator.emulator import Emulator
from gateway.emulator.pages import STYLE_PATH, gone_to, page, style
from gateway.emulator.wire import Answer, Call, Endpoint, Endpoints, Serve

INBOX_PATH = "/_emulator/inbox"


def _show_page(emulator: Emulator, _call: Call) -> Answer:
    return page("inbox.html", messages=list(emulator.inbox))


def _clear_page(emulator: Emulator, _call: Call) -> Answer:
    emulator.inbox.forget()
    return gone_to(INBOX_PATH)


def _show_messages(emulator: Emulator, _call: Call) -> Answer:
    return Answer({"messages": [message.as_json() for message in emulator.inbox]})


def _clear_messages(emulator: Emulator, call: Call) -> Answer:
    emulator.inbox.forget()
    return _show_messages(emulator, call)


def _style(_emulator: Emulator, _call: Call) -> Answer:
    return style()


def inbox_endpoints() -> Endpoints:
    """The inbox and the pages' style sheet; like all controls neither logged nor made to fail."""
    calls: dict[tuple[str, str], Serve] = {
        ("GET", INBOX_PATH): _show_page,
        ("POST", INBOX_PATH): _clear_page,
        ("GET", "/_emulator/messages"): _show_messages,
        ("DELETE", "/_emulator/messages"): _clear_messages,
        ("GET", STYLE_PATH): _style,
    }
    return {place: Endpoint(serve, None) for place, serve in calls.items()}
