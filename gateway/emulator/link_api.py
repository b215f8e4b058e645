"""Magic links, which sign in whoever opens them, and enchanted links, which sign in the page that waits."""

from collections.abc import Callable
from functools import partial

from gateway.emulator.channels import CHANNELS, LINK_CHANNELS, Channel, masked_member
from gateway.emulator.contacting import (
    link_url,
    send_enchanted_link,
    send_magic_link,
    to_change,
    to_sign_in,
    to_sign_up,
)
from gateway.emulator.emulator import Emulator
from gateway.emulator.proofs import Intent
from gateway.emulator.signing_in import proven
from gateway.emulator.traffic import Operation
from gateway.emulator.wire import Answer, Call, Endpoint, Endpoints

_Begin = Callable[[Emulator, Call, Channel], Intent]
_STARTS: dict[str, tuple[_Begin, str]] = {
    "signup": (to_sign_up, "Your link to sign up"),
    "signin": (to_sign_in, "Your link to sign in"),
    "signup-in": (partial(to_sign_in, or_up=True), "Your link to sign in"),
}
_CONFIRM = "Your link to confirm this address"


def _send_magic(emulator: Emulator, call: Call, *, begin: _Begin, channel: Channel, subject: str) -> Answer:
    intent = begin(emulator, call, channel)
    url = link_url(emulator, call.fields().maybe_text("URI"), "magic")
    send_magic_link(emulator, channel, intent, url, subject)
    return Answer(masked_member(channel, intent.address))


def _verify_magic(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    return proven(emulator, call, emulator.links.redeem(call.fields().text("token"), emulator.now_s()))


def _send_enchanted(emulator: Emulator, call: Call, *, begin: _Begin, channel: Channel, subject: str) -> Answer:
    intent = begin(emulator, call, channel)
    url = link_url(emulator, call.fields().maybe_text("URI"), "enchanted")
    pending_ref, message = send_enchanted_link(emulator, channel, intent, url, subject)
    body = {"pendingRef": pending_ref, "linkId": message.link_id}
    return Answer(body | masked_member(channel, intent.address))


def _click(emulator: Emulator, call: Call) -> Answer:
    # The device that opens the link gets no session; the one that waits does.
    call.secret(emulator.project_id)
    emulator.links.click(call.fields().text("token"), emulator.now_s())
    return Answer()


def _poll(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    return proven(emulator, call, emulator.links.collect(call.fields().text("pendingRef"), emulator.now_s()))


def link_endpoints() -> Endpoints:
    """The calls of magic and enchanted links."""
    found = {
        ("POST", "/v1/auth/magiclink/verify"): Endpoint(_verify_magic, Operation.MAGIC_LINK_VERIFY),
        ("POST", "/v1/auth/enchantedlink/verify"): Endpoint(_click, Operation.ENCHANTED_LINK_VERIFY),
        ("POST", "/v1/auth/enchantedlink/pending-session"): Endpoint(_poll, Operation.ENCHANTED_LINK_POLL),
    }
    for channel in CHANNELS:
        for word, (begin, subject) in _STARTS.items():
            start = partial(_send_magic, begin=begin, channel=channel, subject=subject)
            found["POST", f"/v1/auth/magiclink/{word}/{channel}"] = Endpoint(start, Operation.MAGIC_LINK_SEND)
        change = partial(_send_magic, begin=to_change, channel=channel, subject=_CONFIRM)
        place = f"/v1/auth/magiclink/update/{_address(channel)}"
        found["POST", place] = Endpoint(change, Operation.MAGIC_LINK_UPDATE)
    # The Python SDK names no channel here, and reads the answer as that of an SMS.
    found["POST", "/v1/auth/magiclink/update/phone"] = found["POST", "/v1/auth/magiclink/update/phone/sms"]
    for channel in LINK_CHANNELS:
        for word, (begin, subject) in _STARTS.items():
            start = partial(_send_enchanted, begin=begin, channel=channel, subject=subject)
            found["POST", f"/v1/auth/enchantedlink/{word}/{channel}"] = Endpoint(start, Operation.ENCHANTED_LINK_SEND)
        change = partial(_send_enchanted, begin=to_change, channel=channel, subject=_CONFIRM)
        place = f"/v1/auth/enchantedlink/update/{_address(channel)}"
        found["POST", place] = Endpoint(change, Operation.ENCHANTED_LINK_UPDATE)
    return found


def _address(channel: Channel) -> str:
    return "email" if channel == "email" else f"phone/{channel}"
