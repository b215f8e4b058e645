"""Flows as `<descope-wc>` runs them: its static files, the start of a run and each next step.

There are two flows of the same two screens, an e-mail address and the code that is sent there: `sign-up-or-in`, and
`sign-in`, which looks the same to somebody unknown and never lets them in.
"""

from functools import cache, partial
from pathlib import Path
from typing import Any

from gateway.emulator.channels import FACTORS, is_email, masked
from gateway.emulator.contacting import address_of, newcomer, send_code
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import FLOW_IS_OLD, FLOW_NONCE, FLOW_TIMED_OUT, ApiError, invalid, not_valid
from gateway.emulator.flows import FLOWS, Run
from gateway.emulator.proofs import Intent
from gateway.emulator.signing_in import proven
from gateway.emulator.traffic import Operation
from gateway.emulator.wire import Answer, Call, Endpoint, Endpoints, Fields

_SCREENS = ("start", "code")
_COMPONENTS_VERSION = "3.14.1"
_FOLDER = Path(__file__).parent / "flow_screens"


# --- runs -----------------------------------------------------------------------------------------------------------


def _start(emulator: Emulator, call: Call) -> Answer:
    known = call.secret(emulator.project_id)
    fields = call.fields()
    flow_id, settings = fields.text("flowId"), emulator.settings
    if flow_id not in FLOWS:
        raise invalid(f"There is no flow {flow_id!r}")
    shown = fields.mapping("flowVersions").get(flow_id, settings.flow_version)
    _require_version(emulator, shown)
    run = emulator.flows.begin(flow_id, settings.flow_version, emulator.now_s(), settings.flow_ttl_s)
    if known.count(".") == 2:
        # Whoever is signed in finds the own address filled in.
        run.login_id = address_of(emulator.sessions.find(known)[1], "email")
    return _turned(emulator, call, run, fields)


def _next(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    fields = call.fields()
    run = emulator.flows.find(fields.text("executionId"), emulator.now_s())
    if run is None:
        raise ApiError(400, "The flow has timed out", code=FLOW_TIMED_OUT)
    _require_version(emulator, run.version)
    if call.flow_nonce != run.nonce:
        raise ApiError(401, "The flow's nonce is not the one that was given out", code=FLOW_NONCE)
    return _turned(emulator, call, run, fields)


def _require_version(emulator: Emulator, version: object) -> None:
    if version != emulator.settings.flow_version:
        raise ApiError(400, "The flow was published anew since it was loaded", code=FLOW_IS_OLD)


def _turned(emulator: Emulator, call: Call, run: Run, fields: Fields) -> Answer:
    """What the pressed button leads to; a request without one shows the present screen."""
    pressed, given = fields.maybe_text("interactionId"), fields.part("input")
    try:
        if run.step == "start" and pressed == "continue":
            run.login_id = given.maybe_text("email").strip()
            _send(emulator, run)
            run.step = "code"
        elif run.step == "code" and pressed == "resend":
            _send(emulator, run)
        elif run.step == "code" and pressed == "back":
            run.step = "start"
        elif run.step == "code" and pressed == "verify":
            code = given.maybe_text("code").strip()
            intent = emulator.codes.redeem(run.execution_id, "email", code, emulator.now_s())
            return _completed(emulator, run, proven(emulator, call, intent))
    except ApiError as err:
        return _screen(run, err)
    return _screen(run)


def _send(emulator: Emulator, run: Run) -> None:
    """A code to whoever may come in by this flow; nobody is told whether that is so."""
    if not is_email(run.login_id):
        raise not_valid("Type your e-mail address")
    person = emulator.directory.person_by_login(run.login_id)
    is_new = person is None
    if person is None and not FLOWS[run.flow_id]:
        return
    person = person or newcomer(emulator, run.login_id, Fields({}))
    address = address_of(person, "email")
    if is_email(address):
        intent = Intent(person, FACTORS["email"], is_new=is_new, contact="email", address=address)
        send_code(emulator, run.execution_id, "email", intent, "Your code to sign in")


def _completed(emulator: Emulator, run: Run, issued: Answer) -> Answer:
    emulator.flows.end(run, emulator.now_s())
    body = {
        **_state(run),
        "stepId": "end",
        "stepName": "End",
        "status": "completed",
        "action": "none",
        "authInfo": issued.body,
        "lastAuth": {"authMethod": "otp", "loginId": run.login_id},
    }
    return Answer(body, cookies=issued.cookies)


def _screen(run: Run, error: ApiError | None = None) -> Answer:
    state: dict[str, Any] = {"form": {"email": run.login_id}}
    if run.step == "code":
        state["sentTo"] = {"maskedEmail": masked(run.login_id)}
    body = _state(run) | {"status": "waiting", "action": "screen", "screen": {"id": run.step, "state": state}}
    if error is not None:
        state |= {"errorText": error.description, "errorType": "invalidInput"}
        body["error"] = {"code": error.code, "description": error.description, "message": "Bad Request"}
    return Answer(body, headers=(("X-Descope-Flow-Nonce", run.turn()),))


def _state(run: Run) -> dict[str, Any]:
    names = {"start": "Sign in", "code": "Code"}
    return {"executionId": run.execution_id, "stepId": run.step, "stepName": names[run.step], "output": {}}


# --- static files ---------------------------------------------------------------------------------------------------


def _config(emulator: Emulator, _call: Call) -> Answer:
    flow = {
        "version": emulator.settings.flow_version,
        "startScreenId": "start",
        "startScreenName": "Sign in",
        "targetLocales": [],
    }
    fonts: dict[str, object] = {"light": {"fonts": {}}, "dark": {"fonts": {}}}
    body = {
        "flows": dict.fromkeys(FLOWS, flow),
        "componentsVersion": _COMPONENTS_VERSION,
        "styles": {"theme": fonts},
        "cssTemplate": fonts,
    }
    return Answer(body)


def _theme(_emulator: Emulator, _call: Call) -> Answer:
    nothing: dict[str, object] = {"globals": "", "components": {}}
    return Answer({"light": nothing | {"globals": _read("theme.css")}, "dark": nothing})


def _page(_emulator: Emulator, _call: Call, *, name: str) -> Answer:
    return Answer(_read(f"{name}.html"), content_type="text/html")


@cache
def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def flow_endpoints(project_id: str) -> Endpoints:
    """Starting a flow, going on, and the files that its screens are made of."""
    folder = f"/pages/{project_id}/v2-beta"
    files = {"config.json": _config, "theme.json": _theme} | {
        f"{name}.html": partial(_page, name=name) for name in _SCREENS
    }
    return {
        ("POST", "/v1/flow/start"): Endpoint(_start, Operation.FLOW_START),
        ("POST", "/v1/flow/next"): Endpoint(_next, Operation.FLOW_NEXT),
        **{("GET", f"{folder}/{name}"): Endpoint(serve, Operation.FLOW_CONTENT) for name, serve in files.items()},
    }
