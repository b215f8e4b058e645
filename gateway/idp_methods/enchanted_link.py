"""Enchanted links: the page that waits is signed in, when the right one of three is opened."""

from descope.common import EndpointsV1

from gateway.idp_call import Operation, SessionPair, SignInCall, nothing, pair


def poll(pending_ref: str) -> SignInCall[SessionPair]:
    """The session, once the link was opened; refused until then."""
    return SignInCall(
        Operation.ENCHANTED_LINK_POLL,
        EndpointsV1.get_session_enchantedlink_auth_path,
        pair,
        {"pendingRef": pending_ref},
    )


def verify(token: str) -> SignInCall[None]:
    return SignInCall(
        Operation.ENCHANTED_LINK_VERIFY, EndpointsV1.verify_enchantedlink_auth_path, nothing, {"token": token}
    )
