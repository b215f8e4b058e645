"""One-time codes by e-mail, SMS, voice and WhatsApp."""

from collections.abc import Callable
from functools import partial

from gateway.emulator.channels import CHANNELS, Channel, masked_member
from gateway.emulator.contacting import send_code, to_change, to_sign_in, to_sign_up
from gateway.emulator.emulator import Emulator
from gateway.emulator.proofs import Intent
from gateway.emulator.signing_in import proven
from gateway.emulator.traffic import Operation
from gateway.emulator.wire import Answer, Call, Endpoint, Endpoints

_Begin = Callable[[Emulator, Call, Channel], Intent]


def _send(emulator: Emulator, call: Call, *, begin: _Begin, channel: Channel, subject: str) -> Answer:
    intent = begin(emulator, call, channel)
    send_code(emulator, call.fields().text("loginId"), channel, intent, subject)
    return Answer(masked_member(channel, intent.address))


def _verify(emulator: Emulator, call: Call, *, channel: Channel) -> Answer:
    call.secret(emulator.project_id)
    fields = call.fields()
    intent = emulator.codes.redeem(fields.text("loginId"), channel, fields.text("code"), emulator.now_s())
    return proven(emulator, call, intent)


def otp_endpoints() -> Endpoints:
    """The calls of one-time codes, each for each channel."""
    found: dict[tuple[str, str], Endpoint] = {}
    starts: dict[str, tuple[_Begin, str]] = {
        "signup": (to_sign_up, "Your code to sign up"),
        "signin": (to_sign_in, "Your code to sign in"),
        "signup-in": (partial(to_sign_in, or_up=True), "Your code to sign in"),
    }
    for channel in CHANNELS:
        for word, (begin, subject) in starts.items():
            start = partial(_send, begin=begin, channel=channel, subject=subject)
            found["POST", f"/v1/auth/otp/{word}/{channel}"] = Endpoint(start, Operation.OTP_SEND)
        change = partial(_send, begin=to_change, channel=channel, subject="Your code to confirm this address")
        place = "email" if channel == "email" else f"phone/{channel}"
        found["POST", f"/v1/auth/otp/update/{place}"] = Endpoint(change, Operation.OTP_UPDATE)
        verify = partial(_verify, channel=channel)
        found["POST", f"/v1/auth/otp/verify/{channel}"] = Endpoint(verify, Operation.OTP_VERIFY)
    return found
