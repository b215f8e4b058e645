"""The `audit` key: whether, and where to, records of refusals and of sessions are written."""

from typing import Annotated, Literal

from pydantic import Discriminator, Tag

from gateway.routefile import values
from gateway.routefile.forms import Form, Section


class AuditFile(Section):
    """Records are appended to a file."""

    file: Annotated[str, Form(values.file_path)]
    """Its absolute path; made where there is none. It may be rotated by renaming or by copying."""


def _word_or_file(value: object) -> str:
    return "<word>" if isinstance(value, str) else "<file>"


Audit = Annotated[
    Annotated[Literal["stdout"], Tag("<word>")] | Annotated[AuditFile, Tag("<file>")],
    Discriminator(_word_or_file),
]
