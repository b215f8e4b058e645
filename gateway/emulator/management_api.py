"""The management API: every call needs the project's management key, and stands under `/v1/mgmt` and `/v2/mgmt` alike.

Descope has some calls under one and some under the other; nothing hangs on which.
"""

from gateway.emulator.auth_api import tokens
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import ApiError, unauthenticated
from gateway.emulator.management_keys import access_key_endpoints
from gateway.emulator.management_people import people_endpoints, person_of
from gateway.emulator.management_project import project_endpoints
from gateway.emulator.management_proofs import proof_endpoints
from gateway.emulator.traffic import Operation
from gateway.emulator.wire import Answer, Call, Endpoint, Endpoints, Serve


def _license(_emulator: Emulator, _call: Call) -> Answer:
    return Answer({"rateLimitTier": "emulator"})


def _sign_in(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    person = person_of(emulator, fields)
    if person.status not in {"enabled", "invited"}:
        raise ApiError(403, "The user is disabled")
    person.status = "enabled"
    issued = emulator.sessions.start(
        person, claims=fields.mapping("customClaims"), end_others=fields.flag("revokeOtherSessions")
    )
    return tokens(emulator, issued, in_body=True)


def _keyed(serve: Serve) -> Serve:
    def keyed(emulator: Emulator, call: Call) -> Answer:
        if not emulator.is_management_key(call.secret(emulator.project_id)):
            raise unauthenticated("The management key is missing or wrong")
        return serve(emulator, call)

    return keyed


def management_endpoints() -> Endpoints:
    """The management calls."""
    own_operations = {"/license": Operation.LICENSE, "/auth/signin": Operation.MANAGEMENT_SIGNIN}
    calls: dict[tuple[str, str], Serve] = {
        ("GET", "/license"): _license,
        ("POST", "/auth/signin"): _sign_in,
        **people_endpoints(),
        **proof_endpoints(),
        **project_endpoints(),
        **access_key_endpoints(),
    }
    return {
        (method, f"/{version}/mgmt{path}"): Endpoint(_keyed(serve), own_operations.get(path, Operation.MANAGEMENT))
        for version in ("v1", "v2")
        for (method, path), serve in calls.items()
    }
