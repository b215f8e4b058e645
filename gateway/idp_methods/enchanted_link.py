"""Enchanted links: the page that waits is signed in, when the right one of three is opened."""

from dataclasses import dataclass, field

import httpx
from descope.common import EndpointsV1

from gateway.core.signin import Channel, Template
from gateway.idp_call import Operation, SessionPair, SignInCall, is_text, nothing, pair
from gateway.idp_http import Unusable, json_object
from gateway.idp_methods.sending import login_options


@dataclass(frozen=True, slots=True)
class Waiting:
    """link_id: the number of the right link. pending_ref: what to poll with, as good as a credential."""

    link_id: str
    pending_ref: str = field(repr=False)


def send(login_id: str, channel: Channel, uri: str, template: Template, *, or_sign_up: bool) -> SignInCall[Waiting]:
    """uri: where the links lead, `t=` added. or_sign_up: whether a login id that nobody has makes an account."""
    up = EndpointsV1.sign_up_or_in_auth_enchantedlink_path
    path = up if or_sign_up else EndpointsV1.sign_in_auth_enchantedlink_path
    body = {"loginId": login_id, "URI": uri, "loginOptions": login_options(template)}
    return SignInCall(Operation.ENCHANTED_LINK_SEND, f"{path}/{channel}", _waiting, body, about=login_id)


def poll(pending_ref: str) -> SignInCall[SessionPair]:
    """The session, once the link was opened; refused until then."""
    path = EndpointsV1.get_session_enchantedlink_auth_path
    return SignInCall(Operation.ENCHANTED_LINK_POLL, path, pair, {"pendingRef": pending_ref})


def verify(token: str) -> SignInCall[None]:
    """The link was opened: whoever waits for it goes on."""
    path = EndpointsV1.verify_enchantedlink_auth_path
    return SignInCall(Operation.ENCHANTED_LINK_VERIFY, path, nothing, {"token": token})


def _waiting(response: httpx.Response) -> Waiting:
    members = json_object(response)
    link_id, pending_ref = members.get("linkId"), members.get("pendingRef")
    if not is_text(link_id) or not is_text(pending_ref):
        raise Unusable("the answer has no number or nothing to wait with")
    return Waiting(str(link_id), str(pending_ref))
