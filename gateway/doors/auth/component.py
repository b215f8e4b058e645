"""The files of the flow component, out of the pinned packages that `gateway/component/fetch.sh` brings.

They lie under a name made of their content, so browsers may keep them for good and a new version is never mixed with an
old one.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.core.model import Reason, Refuse, RequestFacts
from gateway.doors.answers import Answer
from gateway.doors.auth.outcome import Body, Endpoints, Outcome

FOLDER = Path(__file__).parents[2] / "component" / "files"
_KINDS = {".js": b"text/javascript; charset=utf-8", ".woff": b"font/woff"}


@dataclass(frozen=True, slots=True)
class ComponentFiles:
    """What is installed. version: of the whole, by content; "" where nothing is."""

    version: str
    paths: Mapping[str, Path]

    @property
    def are_here(self) -> bool:
        return bool(self.version)

    def url(self, name: str) -> str:
        return f"/.auth/component/{self.version}/{name}"


def component_files(folder: Path = FOLDER) -> ComponentFiles:
    """Look what is there, once."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.suffix in _KINDS}
    if not {"web-component.js", "ui/index.js"} <= found.keys():
        return ComponentFiles("", {})
    digest = hashlib.sha256()
    for name, path in found.items():
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return ComponentFiles(digest.hexdigest()[:20], found)


class ComponentDoor:
    def __init__(self, files: ComponentFiles) -> None:
        self._files = files
        self.endpoints: Endpoints = {"component/": {"GET": self._file}}

    async def _file(self, facts: RequestFacts, body: Body) -> Outcome:
        version, _, name = "/".join(facts.target.segments[2:]).partition("/")
        path = self._files.paths.get(name)
        if path is None or version != self._files.version:
            return Outcome(Refuse(Reason.NOT_FOUND))
        packed = path.with_name(path.name + ".gz")
        lines = [
            b"Content-Type: " + _KINDS[path.suffix],
            b"Cache-Control: public, max-age=31536000, immutable",
            b"X-Content-Type-Options: nosniff",
            b"Cross-Origin-Resource-Policy: same-origin",
            b"Vary: Accept-Encoding",
        ]
        if _takes_gzip(facts) and packed.is_file():
            path = packed
            lines.append(b"Content-Encoding: gzip")
        return Outcome(Answer(200, tuple(lines), await asyncio.to_thread(path.read_bytes)))


def _takes_gzip(facts: RequestFacts) -> bool:
    """Whether gzip is named and not refused (RFC 9110 section 12.5.3)."""
    for value in facts.named.get(b"accept-encoding", ()):
        for part in value.lower().split(b","):
            coding, _, weight = part.partition(b";")
            if coding.strip() == b"gzip":
                return weight.strip().removeprefix(b"q=").strip(b"0.") != b"" or not weight.strip()
    return False
