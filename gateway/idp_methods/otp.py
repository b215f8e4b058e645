"""One-time codes by e-mail, SMS, voice and WhatsApp."""

from descope.common import EndpointsV1

from gateway.core.signin import Channel, Template
from gateway.idp_call import Operation, SessionPair, SignInCall, nothing, pair
from gateway.idp_methods.sending import login_options


def send(login_id: str, channel: Channel, template: Template, *, or_sign_up: bool) -> SignInCall[None]:
    """or_sign_up: whether a login id that nobody has makes an account."""
    path = EndpointsV1.sign_up_or_in_auth_otp_path if or_sign_up else EndpointsV1.sign_in_auth_otp_path
    body = {"loginId": login_id, "loginOptions": login_options(template)}
    return SignInCall(Operation.OTP_SEND, f"{path}/{channel}", nothing, body, about=login_id)


def verify(login_id: str, channel: Channel, code: str) -> SignInCall[SessionPair]:
    body = {"loginId": login_id, "code": code}
    return SignInCall(Operation.OTP_VERIFY, f"{EndpointsV1.verify_code_auth_path}/{channel}", pair, body)
