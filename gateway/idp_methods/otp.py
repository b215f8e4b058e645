"""One-time codes."""

from descope.common import EndpointsV1

from gateway.core.signin import Channel
from gateway.idp_call import Operation, SessionPair, SignInCall, pair


def verify(channel: Channel, login_id: str, code: str) -> SignInCall[SessionPair]:
    return SignInCall(
        Operation.OTP_VERIFY,
        f"{EndpointsV1.verify_code_auth_path}/{channel}",
        pair,
        {"loginId": login_id, "code": code},
    )
