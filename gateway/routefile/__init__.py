"""The route file: YAML in, one frozen `Config` out, or every problem of the file, each with its line and column.

Done in four steps, none of which ends the search at its first find: YAML with marks (`yamlmarks`), the shape of each
piece (`reading` with the models), what pieces mean together (`checks`), and the table of routes;
`whole` takes a file through them.
"""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from gateway.core.errors import ConfigError
from gateway.routefile import yamlmarks
from gateway.routefile.config import Config, Expectation
from gateway.routefile.reading import Reading, told
from gateway.routefile.schema import schema
from gateway.routefile.whole import WholeFile
from gateway.routefile.yamlmarks import MAX_BYTES

__all__ = ["Config", "Expectation", "load", "parse", "schema", "text_of"]


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Read the route file at `path`. Raises ConfigError with every problem."""
    return parse(text_of(path), str(path), environment)


def text_of(path: Path) -> str:
    """What the route file at `path` says, uncompiled. Raises ConfigError where it cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as err:
        why = err.strerror or type(err).__name__
        raise ConfigError((f"{path}: the route file cannot be read: {why}; name another with --config",)) from None
    except ValueError:
        raise ConfigError((f"{str(path)!a}: this is no file name; name the route file with --config",)) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError((f"{path}:1:1: the file has more than {MAX_BYTES} bytes, which is all that is read",))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        before = raw[: err.start]
        line, column = before.count(b"\n") + 1, err.start - before.rfind(b"\n")
        raise ConfigError((f"{path}:{line}:{column}: the file is not UTF-8 here; save it as UTF-8",)) from None


def parse(text: str, name: str, environment: Mapping[str, str]) -> Config:
    """Read a route file's text. name: what messages call it. Raises ConfigError with every problem."""
    document = yamlmarks.read(text, environment)
    reading = Reading(document, problems=list(document.problems))
    config: Config | None = None
    if isinstance(document.value, dict):
        config = WholeFile(reading, name).config()
    elif not reading.problems:
        reading.problem((), "a route file is a mapping that begins with `version: 1`; this text is none")
    if reading.problems or config is None:
        raise ConfigError(told(reading.problems, name))
    return replace(config, version=sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12])
