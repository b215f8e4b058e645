"""What is set from outside the route file: where it lies, where to listen, how to log. Read once, then frozen."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, cast, get_args

from gateway.core.errors import ConfigError

LogForm = Literal["json", "text", "off"]
TraceForm = Literal["off", "otlp"]
T = TypeVar("T")

DEFAULT_LISTEN = "127.0.0.1:8080"
DEFAULT_ADMIN = "127.0.0.1:9090"
_HIGHEST_PORT = 65_535
_MOST_WORKERS = 64


class Listen(NamedTuple):
    """An address to listen on. host: an IP address without brackets, or a name; port: 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """config: the route file; None where nobody named one. workers: how many processes share the public listener."""

    config: Path | None
    listen: Listen
    admin: Listen
    log: LogForm
    traces: TraceForm = "off"
    status: Listen | None = None
    workers: int = 1


def usable_cores() -> int:
    """How many cores this process may run on: those of its affinity, where the system tells it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_settings(
    environment: Mapping[str, str],
    overrides: Mapping[str, str | None],
    cores: Callable[[], int] = usable_cores,
) -> Settings:
    """Settings from variables such as `GATEWAY_LISTEN`, and options that win over them.

    overrides: values by lower-case name, which are those of `Settings`, as the command line has them; None for absent.
    cores: how many workers `auto` is. Empty variables count as absent. Raises ConfigError with every problem.
    """
    problems: list[str] = []

    def read(name: str, default: str, parse: Callable[[str], T]) -> T | None:
        given = overrides.get(name)
        source = f"--{name}" if given is not None else f"GATEWAY_{name.upper()}"
        text = given if given is not None else environment.get(source, "") or default
        try:
            return parse(text)
        except ValueError as err:
            problems.append(f"{source}: {err}")
            return None

    config = read("config", "", _config)
    listen = read("listen", DEFAULT_LISTEN, parse_listen)
    admin = read("admin", DEFAULT_ADMIN, parse_listen)
    log = read("log", "json", lambda text: cast("LogForm", _one_of(get_args(LogForm), text)))
    traces = read("traces", "off", lambda text: cast("TraceForm", _one_of(get_args(TraceForm), text)))
    status = read("status", "", _status)
    workers = read("workers", "1", lambda text: _workers(text, cores))
    if status is not None and status in (listen, admin) and status.port:
        problems.append(f"--status is {status} like another listener; give the status page a port of its own")
    if listen is not None and listen == admin and listen.port:
        problems.append(f"--listen and --admin are both {listen}; give the admin listener a port of its own")
    if problems or listen is None or admin is None or log is None or traces is None or workers is None:
        raise ConfigError(tuple(problems))
    return Settings(config, listen, admin, log, traces, status, workers)


def parse_listen(text: str) -> Listen:
    """`127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`; ValueError with the remedy for anything else."""
    if text.startswith("unix:"):
        raise ValueError("a Unix socket cannot be listened on yet; write an address such as 127.0.0.1:8080")
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{_shown(text)} has no port; write it as 127.0.0.1:8080")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= _HIGHEST_PORT):
        raise ValueError(f"{_shown(text)}: the port is a number from 0 to {_HIGHEST_PORT}, as in 127.0.0.1:8080")
    if not host:
        raise ValueError(f"{_shown(text)} has no host; write 127.0.0.1:{port}, or 0.0.0.0:{port} for every interface")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host or not _is_address(host):
            raise ValueError(f"{_shown(text)}: between brackets stands an IPv6 address, as in [::1]:{port}")
    elif ":" in host:
        raise ValueError(f"{_shown(text)}: an IPv6 address stands in brackets, as in [::1]:{port}")
    elif not _is_address(host) and (not _is_name(host) or host.replace(".", "").isdigit()):
        raise ValueError(f"{_shown(text)}: {_shown(host)} is neither an IP address nor a host name")
    return Listen(host, int(port))


def _status(text: str) -> Listen | None:
    if not text:
        return None
    listen = parse_listen(text)
    if listen.host != "localhost" and not (_is_address(listen.host) and ip_address(listen.host).is_loopback):
        raise ValueError(
            f"{_shown(text)} is no loopback address; the status page asks nobody who they are, so give one such as "
            "127.0.0.1:9091"
        )
    return listen


def _workers(text: str, cores: Callable[[], int]) -> int:
    if text == "auto":
        return min(max(cores(), 1), _MOST_WORKERS)
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= _MOST_WORKERS):
        near = "; did you mean auto?" if get_close_matches(text.lower(), ["auto"], 1) else ""
        raise ValueError(
            f"{_shown(text)} is no number of workers; write a whole number from 1 to {_MOST_WORKERS}, or auto for one "
            f"on each core{near}"
        )
    return int(text)


def _config(text: str) -> Path | None:
    if "\0" in text:
        raise ValueError("a file name has no NUL in it")
    return Path(text) if text else None


def _one_of(forms: tuple[str, ...], text: str) -> str:
    if text not in forms:
        near = get_close_matches(text.lower(), forms, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{_shown(text)} is none of {', '.join(forms)}{hint}")
    return text


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_name(host: str) -> bool:
    return host.isascii() and all(label.replace("-", "").replace("_", "").isalnum() for label in host.split("."))


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 60 else text[:57] + "...")
