"""What the demo tells whoever started it: who can sign in, where everything is, and five requests to try.

The paths in the examples are routes of `config/routes.yaml`, the people and keys those of `config/emulator.yaml`.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from rich.console import Console
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in the demo's project. note: why sign-in will not work, "" where it will."""

    name: str
    login_id: str
    password: str = field(repr=False)
    roles: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """A program's credential in the demo's project. note: why it will not work, "" where it will."""

    name: str
    secret: str = field(repr=False)
    roles: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Door:
    """An address worth knowing."""

    what: str
    url: str


@dataclass(frozen=True, slots=True)
class Example:
    """One line for a POSIX shell, and what it is answered with. expects: more than the status, "" for nothing more."""

    title: str
    status: int
    command: str
    expects: str = ""


@dataclass(frozen=True, slots=True)
class Guide:
    """Everything that is printed. site: the gateway's public URL; cookie_file: where the examples keep cookies."""

    site: str
    people: Sequence[Person]
    keys: Sequence[Key]
    doors: Sequence[Door]
    cookie_file: str

    def examples(self) -> tuple[Example, ...]:
        """The five requests, in an order that works; () where nobody in the project could make them."""
        person = next((p for p in self.people if not p.note and "admin" not in p.roles), None)
        key = next((k for k in self.keys if not k.note and "worker" in k.roles), None)
        if person is None or key is None:
            return ()
        jar, name = shlex.quote(self.cookie_file), person.name or person.login_id
        pairs = (("login_id", person.login_id), ("password", person.password))
        form = " ".join("-d " + shlex.quote(f"{label}={quote(value, safe='@')}") for label, value in pairs)
        sign_in = f"curl -s -o /dev/null -c {jar} {form} {self.site}/.auth/login"
        refresh_only = f'"Cookie: DSR=$(awk \'$6 == "DSR" {{print $7}}\' {jar})"'
        return (
            Example("Nobody is signed in", 401, f"curl -i {self.site}/", "reason no_credentials"),
            Example(f"{name} signs in, then opens the site", 200, f"{sign_in} && curl -i -b {jar} {self.site}/"),
            Example(f"{name} is no admin", 403, f"curl -i -b {jar} {self.site}/admin/", "reason role_missing"),
            Example(
                "The session is gone, the refresh cookie is there: renewed on the way",
                200,
                f"curl -i -H {refresh_only} {self.site}/",
                "new Set-Cookie lines",
            ),
            Example(
                "A program with an access key",
                200,
                f"curl -i -X POST -H {shlex.quote(f'Authorization: Bearer {key.secret}')} {self.site}/jobs/nightly",
            ),
        )

    def print(self, console: Console) -> None:
        """Print all of it; lines are never broken, so that they can be copied."""

        def line(words: str = "", style: str = "") -> None:
            console.print(Text(words, style), soft_wrap=True)

        line("\nThe gateway's demo: a service that knows nothing of sign-in, behind the gateway.", "bold")
        line("For development only: these passwords and keys are public, and everything is lost at the end.")
        people = ((p.name, p.login_id, p.password, p.note or p.roles) for p in self.people)
        keys = ((k.name, k.secret, k.note or k.roles) for k in self.keys)
        tables = {
            "Who can sign in": (("name", "login id", "password", "roles"), *people),
            "Access keys": (("name", "key", "roles"), *keys),
            "Addresses": tuple((door.what, door.url) for door in self.doors),
        }
        for title, rows in tables.items():
            line(f"\n{title}", "bold")
            for row in _aligned(rows):
                line(f"  {row}")
        line("\nFive requests for another terminal, from top to bottom", "bold")
        for number, example in enumerate(self.examples(), 1):
            also = f", {example.expects}" if example.expects else ""
            line(f"\n{number}. {example.title}. Answers {example.status}{also}.", "cyan")
            line(f"   {example.command}")
        line("\nCtrl-C ends all of it. The log of requests follows.\n", "bold")


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows as lines, each column as wide as its widest text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
