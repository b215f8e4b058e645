"""How a message reaches somebody: the channels, what an address looks like, and how much of one is shown."""

import re
from collections.abc import Mapping
from typing import Literal, get_args

Channel = Literal["email", "sms", "voice", "whatsapp"]
Contact = Literal["email", "phone"]

CHANNELS: tuple[Channel, ...] = get_args(Channel)
LINK_CHANNELS: tuple[Channel, ...] = ("email", "sms")
# For `amr`. What Descope writes after a call is not known; RFC 8176 has `tel` for it.
FACTORS: Mapping[Channel, str] = {"email": "email", "sms": "sms", "voice": "tel", "whatsapp": "whatsapp"}

_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,255}")
_PHONE = re.compile(r"\+?[0-9][0-9 ().-]{4,22}[0-9]")
_BETWEEN_DIGITS = re.compile(r"[ ().-]")


def contact_of(channel: Channel) -> Contact:
    """What a person must have for this channel."""
    return "email" if channel == "email" else "phone"


def is_email(text: str) -> bool:
    """Whether this has the form of an e-mail address."""
    return _EMAIL.fullmatch(text) is not None


def is_phone(text: str) -> bool:
    """Whether this has the form of a phone number."""
    return _PHONE.fullmatch(text) is not None


def is_address(contact: Contact, text: str) -> bool:
    """Whether this has the form of an e-mail address, or of a phone number."""
    return is_email(text) if contact == "email" else is_phone(text)


def compared(login_id: str) -> str:
    """The form in which login ids are compared: case does not matter, nor does what stands between digits."""
    return _BETWEEN_DIGITS.sub("", login_id) if is_phone(login_id) else login_id.casefold()


def masked(address: str) -> str:
    """An address of which little can be read, such as `a**@e******.com` or `**********43`."""
    if is_phone(address):
        return "*" * (len(address) - 2) + address[-2:]
    local, at, domain = address.partition("@")
    name, dot, end = domain.rpartition(".")
    return f"{_starred(local)}{at}{_starred(name)}{dot}{end}"


def masked_member(channel: Channel, address: str) -> dict[str, str]:
    """The masked address by the name that Descope's clients read."""
    return {"maskedEmail" if contact_of(channel) == "email" else "maskedPhone": masked(address)}


def _starred(word: str) -> str:
    return word[:1] + "*" * (len(word) - 1)
