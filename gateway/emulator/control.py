"""The control surface under `/_emulator/`, for tests and for whoever tries things out.

What stands here can also be called on `Emulator` directly. Nothing here shows a credential; `inbox_pages` does.
"""

from pydantic import Field, ValidationError

from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import invalid
from gateway.emulator.settings import Strict, problems
from gateway.emulator.traffic import FAULTY_OPERATIONS, Fault, Incident
from gateway.emulator.wire import Answer, Call, Endpoint, Endpoints, Serve

# A century either way: further on, the times in tokens leave the calendar.
_CENTURY_S = 100 * 366 * 24 * 3600


class Clock(Strict):
    """How far the emulator's clock is ahead."""

    offset_s: float = Field(ge=-_CENTURY_S / 4, le=_CENTURY_S)


class Rotation(Strict):
    """Whether the keys before stay published."""

    keep_old: bool = True


def _readable(serve: Serve) -> Serve:
    """Turn what pydantic finds into an answer that names the field and what is accepted."""

    def readable(emulator: Emulator, call: Call) -> Answer:
        try:
            return serve(emulator, call)
        except ValidationError as err:
            raise invalid("; ".join(problems(err))) from None

    return readable


def _add_fault(emulator: Emulator, call: Call) -> Answer:
    emulator.traffic.show(Fault.model_validate(call.fields().given()))
    return _show_faults(emulator, call)


def _show_faults(emulator: Emulator, _call: Call) -> Answer:
    return Answer(
        {"faults": [fault.model_dump() for fault in emulator.traffic.faults], "operations": list(FAULTY_OPERATIONS)}
    )


def _clear_faults(emulator: Emulator, call: Call) -> Answer:
    emulator.clear_faults()
    return _show_faults(emulator, call)


def _show_requests(emulator: Emulator, _call: Call) -> Answer:
    return Answer(
        {
            "requests": [record.as_json() for record in emulator.requests],
            "counts": dict(emulator.traffic.counts()),
            **{incident.value: emulator.count(incident) for incident in Incident},
        }
    )


def _forget_requests(emulator: Emulator, call: Call) -> Answer:
    emulator.forget_requests()
    return _show_requests(emulator, call)


def _set_clock(emulator: Emulator, call: Call) -> Answer:
    emulator.set_offset(Clock.model_validate(call.fields().given()).offset_s)
    return _show_clock(emulator, call)


def _show_clock(emulator: Emulator, _call: Call) -> Answer:
    return Answer({"offset_s": emulator.offset_s, "now_s": emulator.now_s()})


def _rotate_keys(emulator: Emulator, call: Call) -> Answer:
    emulator.rotate_keys(keep_old=Rotation.model_validate(call.fields().given()).keep_old)
    return Answer({"kid": emulator.signing.current.kid, "published": [key["kid"] for key in emulator.jwks()["keys"]]})


def _change_settings(emulator: Emulator, call: Call) -> Answer:
    emulator.configure(**call.fields().given())
    return _show_settings(emulator, call)


def _show_settings(emulator: Emulator, _call: Call) -> Answer:
    return Answer(emulator.settings.model_dump())


def _root(_emulator: Emulator, _call: Call) -> Answer:
    surface = "\n".join(f"<li><code>{method} {path}</code>: {what}</li>" for method, path, what in _SURFACE)
    return Answer(_PAGE.format(surface=surface), content_type="text/html")


_SURFACE = (
    ("POST", "/_emulator/faults", "give an operation another answer: operation, status, headers, body, delay_s, times"),
    ("GET", "/_emulator/faults", "the faults still to come, and the operations there are"),
    ("DELETE", "/_emulator/faults", "no more faults"),
    ("GET", "/_emulator/requests", "the last requests and how many there were of each operation"),
    ("DELETE", "/_emulator/requests", "count anew"),
    ("POST", "/_emulator/clock", "offset_s: how far the clock here is ahead"),
    ("GET", "/_emulator/clock", "what time it is here"),
    ("POST", "/_emulator/keys/rotate", "sign with a new key; keep_old: whether the others stay published"),
    ("POST", "/_emulator/settings", "session_ttl_s, refresh_rotation, delivery, code_ttl_s, reset_method, ..."),
    ("GET", "/_emulator/settings", "the settings now"),
    ("GET", "/_emulator/messages", "what was sent to people, newest first: to, channel, code, link, linkId, ..."),
    ("DELETE", "/_emulator/messages", "throw all of it away, and let everybody be sent to again"),
)

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Descope emulator, for development only</title>
<h1>A local emulator of the Descope API</h1>
<p>For development and tests only. It proves nobody's identity: its people, passwords and keys stand in a file.
Everything it knows is in memory and lost when it ends.</p>
<p>Codes and links that people would have been sent: <a href="/_emulator/inbox">the inbox</a>.</p>
<p>Point a Descope SDK here with the base URL of this page. Control it with:</p>
<ul>
{surface}
</ul>
</html>
"""


def control_endpoints() -> Endpoints:
    """The control surface and the root page; neither is logged, neither can be made to fail."""
    calls: dict[tuple[str, str], Serve] = {
        ("GET", "/"): _root,
        ("POST", "/_emulator/faults"): _add_fault,
        ("GET", "/_emulator/faults"): _show_faults,
        ("DELETE", "/_emulator/faults"): _clear_faults,
        ("GET", "/_emulator/requests"): _show_requests,
        ("DELETE", "/_emulator/requests"): _forget_requests,
        ("POST", "/_emulator/clock"): _set_clock,
        ("GET", "/_emulator/clock"): _show_clock,
        ("POST", "/_emulator/keys/rotate"): _rotate_keys,
        ("POST", "/_emulator/settings"): _change_settings,
        ("GET", "/_emulator/settings"): _show_settings,
    }
    return {place: Endpoint(_readable(serve), None) for place, serve in calls.items()}
