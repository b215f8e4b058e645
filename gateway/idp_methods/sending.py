"""What the methods that send a message ask Descope alike."""

from typing import Any

from gateway.core.signin import Template


def login_options(template: Template) -> dict[str, Any]:
    """The options of a sign-in that sends a message, as the SDK spells them."""
    options: dict[str, Any] = {"stepup": False, "customClaims": None, "mfa": False}
    if template.options:
        options["templateOptions"] = dict(template.options)
    if template.id:
        options["templateId"] = template.id
    if template.locale:
        options["locale"] = template.locale
    return options
