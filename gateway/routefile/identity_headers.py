"""How an upstream is told who calls: under our names, those of another product, or its own."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Tag, model_validator

from gateway.core.headers import FORWARDED_FAMILY, HOP_BY_HOP, METHOD_OVERRIDES, folded
from gateway.core.model import X_AUTH
from gateway.core.model import IdentityHeaders as Names
from gateway.routefile.forms import Form, Section
from gateway.routefile.values import header_name

Preset = Literal["remote-user", "oauth2-proxy"]
PRESETS: Mapping[Preset, Mapping[str, str]] = {
    "remote-user": {
        "subject": "Remote-User",
        "email": "Remote-Email",
        "name": "Remote-Name",
        "roles": "Remote-Groups",
    },
    "oauth2-proxy": {
        "subject": "X-Forwarded-User",
        "email": "X-Forwarded-Email",
        "username": "X-Forwarded-Preferred-Username",
        "roles": "X-Forwarded-Groups",
    },
}
_OTHERS_OF_THE_FORWARDED_FAMILY = frozenset(
    folded(header.lower().encode("ascii")) for header in PRESETS["oauth2-proxy"].values()
)
_TAKEN = (
    HOP_BY_HOP
    | FORWARDED_FAMILY
    | METHOD_OVERRIDES
    | frozenset(
        b"host content-length content-type content-encoding expect x-request-id cookie authorization"
        b" x-api-key x-auth-assertion".split()
    )
)


def identity_header(text: str) -> str:
    """A header name that may carry something about the caller."""
    raw = _raw(header_name(text))
    is_forwarded = raw.startswith(b"x-forwarded-") and raw not in _OTHERS_OF_THE_FORWARDED_FAMILY
    if raw in _TAKEN or is_forwarded or raw.startswith(b"x-gateway-"):
        raise ValueError(f"{text} says something else already; choose another name")
    return text


Header = Annotated[str, Form(identity_header)]


class IdentityHeaders(Section):
    """Header names by what they tell. What is not named here or by the preset keeps its X-Auth- name."""

    preset: Preset | None = None
    """The names of another product, to begin with."""
    subject: Header | None = None
    """The caller's id at Descope; X-Auth-Subject."""
    email: Header | None = None
    """The e-mail address, where known; X-Auth-Email."""
    name: Header | None = None
    """The display name, where known, which people choose themselves; X-Auth-Name."""
    username: Header | None = None
    """The token's root claim preferred_username, where it has one; not sent where no name is given."""
    roles: Header | None = None
    """The roles, separated by commas; X-Auth-Roles."""
    permissions: Header | None = None
    """The permissions, separated by commas; X-Auth-Permissions."""
    tenant: Header | None = None
    """The tenant decided by, else the selected one; X-Auth-Tenant."""
    method: Header | None = None
    """session or access_key; X-Auth-Method."""
    key_id: Header | None = None
    """The access key's id, for access keys only; X-Auth-Key-Id."""

    @model_validator(mode="after")
    def _fit_together(self) -> "IdentityHeaders":
        ours = {_raw(header): noun for noun, header in X_AUTH.names}
        first: dict[bytes, str] = {}
        for noun, header in own_names(self).items():
            raw = _raw(header)
            if ours.get(raw, noun) != noun:
                raise ValueError(f"{header} is where services expect the {ours[raw]}; choose another name for {noun}")
            if raw in first:
                raise ValueError(f"{noun} and {first[raw]} are one header to many services; give each its own")
            first[raw] = noun
        return self


def own_names(spec: IdentityHeaders) -> dict[str, str]:
    """Headers by noun, as far as the file itself says them."""
    said = {noun: getattr(spec, noun) for noun in type(spec).model_fields if noun != "preset"}
    return {noun: header for noun, header in said.items() if header is not None}


def _preset_or_names(value: object) -> str:
    return "<preset>" if isinstance(value, str) else "<names>"


PresetOrNames = Annotated[
    Annotated[Preset, Tag("<preset>")] | Annotated[IdentityHeaders, Tag("<names>")],
    Discriminator(_preset_or_names),
]


def identity_headers(spec: IdentityHeaders | Preset | None) -> Names:
    """What the file says of one upstream; a preset's name that something else takes is not told under it too."""
    if spec is None:
        return X_AUTH
    chosen = IdentityHeaders(preset=spec) if isinstance(spec, str) else spec
    own = own_names(chosen)
    preset = PRESETS[chosen.preset] if chosen.preset is not None else {}
    taken = frozenset(map(_raw, own.values()))
    kept = {noun: header for noun, header in preset.items() if _raw(header) not in taken}
    names = dict(X_AUTH.names) | kept | own
    return Names(tuple(names.items()), taken | frozenset(map(_raw, preset.values())))


def _raw(header: str) -> bytes:
    return folded(header.lower().encode("ascii"))
