"""What the request log tells of sign-ins: a form that is shown again is a refusal, and no word of what was typed."""

import io
import json

import pytest

from tests.conftest import OpenHouse
from tests.signin.asking import Browser

BOB = {"login_id": "bob@example.com", "password": "secret-password"}


@pytest.mark.parametrize(
    ("fields", "fault", "expected"),
    [
        pytest.param(BOB, None, (401, "refused", "sign_in_refused"), id="a wrong password"),
        pytest.param({"login_id": "secret"}, None, (400, "refused", "bad_request"), id="nothing to check"),
        pytest.param(BOB, 429, (503, "failed", "identity_provider_busy"), id="Descope busy"),
        pytest.param(BOB, 500, (503, "failed", "identity_provider_unavailable"), id="Descope broken"),
    ],
)
async def test_t16_a_form_that_is_shown_again_is_logged_as_what_it_is(
    built: OpenHouse, fields: dict[str, str], fault: int | None, expected: tuple[int, str, str]
) -> None:
    stream = io.StringIO()
    async with built(log_form="json", log_stream=stream) as house:
        if fault is not None:
            house.emulator.fault("signin", status=fault, times=1)
        await Browser(house).post("password/signin", **fields)
        house.gateway.request_log.flush()
    (line,) = [json.loads(one) for one in stream.getvalue().splitlines() if '"/.auth/password' in one]

    assert (line["status"], line["outcome"], line["reason"]) == expected
    assert "secret" not in json.dumps(line)


async def test_attempts_that_are_too_many_are_logged_as_limited(built: OpenHouse) -> None:
    stream = io.StringIO()
    async with built(log_form="json", log_stream=stream) as house:
        for _ in range(21):
            await Browser(house).post("password/signin", **BOB)
        house.gateway.request_log.flush()
    lines = [json.loads(one) for one in stream.getvalue().splitlines() if '"/.auth/password' in one]

    assert (lines[-1]["status"], lines[-1]["outcome"], lines[-1]["reason"]) == (429, "refused", "rate_limited")
