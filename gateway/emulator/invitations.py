"""Invitations: a magic link for somebody whom management has created, good for longer than others."""

from dataclasses import dataclass

from gateway.emulator.channels import FACTORS, Channel, contact_of
from gateway.emulator.contacting import address_of, link_url
from gateway.emulator.directory import Person
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import invalid
from gateway.emulator.proofs import Intent
from gateway.emulator.web_addresses import with_parameter
from gateway.emulator.wire import Fields


@dataclass(frozen=True, slots=True)
class Invitation:
    """Where the link leads, and the channels by which it is sent with the address for each."""

    url: str
    addresses: dict[Channel, str]


def invitation_of(emulator: Emulator, person: Person, fields: Fields) -> Invitation | None:
    """What `inviteUrl`, `sendMail` and `sendSMS` ask for; where neither is said, mail, or SMS where there is none.

    None where nothing is to be sent; ApiError for what cannot be.
    """
    said: dict[Channel, bool] = {"email": fields.flag("sendMail"), "sms": fields.flag("sendSMS")}
    wanted: list[Channel] = [channel for channel, is_wanted in said.items() if is_wanted]
    if "sendMail" not in fields and "sendSMS" not in fields:
        reachable: list[Channel] = [channel for channel in said if address_of(person, channel)]
        wanted = reachable[:1]
    if not wanted:
        return None
    addresses = {channel: address_of(person, channel) for channel in wanted}
    if not all(addresses.values()):
        raise invalid("The user has no address of the kind that the invitation is to go to")
    return Invitation(link_url(emulator, fields.maybe_text("inviteUrl"), "magic"), addresses)


def invite(emulator: Emulator, person: Person, invitation: Invitation) -> None:
    """Send it."""
    for channel, address in invitation.addresses.items():
        intent = Intent(person, FACTORS[channel], contact=contact_of(channel), address=address)
        now_s = emulator.now_s()
        token, _ = emulator.links.issue("magic", intent, now_s=now_s, ttl_s=emulator.settings.invitation_ttl_s)
        link = with_parameter(invitation.url, "t", token)
        emulator.inbox.put(now_s, address, channel, "You are invited", link=link)
