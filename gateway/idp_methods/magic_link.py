"""Magic links: whoever opens one and confirms is signed in."""

from descope.common import EndpointsV1

from gateway.idp_call import Operation, SessionPair, SignInCall, pair


def verify(token: str) -> SignInCall[SessionPair]:
    return SignInCall(Operation.MAGIC_LINK_VERIFY, EndpointsV1.verify_magiclink_auth_path, pair, {"token": token})
