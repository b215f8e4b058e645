"""Magic links: whoever opens one and confirms is signed in."""

from descope.common import EndpointsV1

from gateway.core.signin import Channel, Template
from gateway.idp_call import Operation, SessionPair, SignInCall, nothing, pair
from gateway.idp_methods.sending import login_options


def send(login_id: str, channel: Channel, uri: str, template: Template, *, or_sign_up: bool) -> SignInCall[None]:
    """uri: where the link leads, `t=` added. or_sign_up: whether a login id that nobody has makes an account."""
    path = EndpointsV1.sign_up_or_in_auth_magiclink_path if or_sign_up else EndpointsV1.sign_in_auth_magiclink_path
    body = {"loginId": login_id, "URI": uri, "loginOptions": login_options(template)}
    return SignInCall(Operation.MAGIC_LINK_SEND, f"{path}/{channel}", nothing, body, about=login_id)


def verify(token: str) -> SignInCall[SessionPair]:
    """The session that the link was for; the token is spent."""
    return SignInCall(Operation.MAGIC_LINK_VERIFY, EndpointsV1.verify_magiclink_auth_path, pair, {"token": token})
