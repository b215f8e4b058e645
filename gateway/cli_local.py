"""The commands that need no account anywhere: a local Descope, and the demo. The only ones that know the emulator."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.core.errors import ConfigError, IdentityProviderError
from gateway.process import LOOPBACK, Signals, check_free, loaded, run, started
from gateway.settings import Listen, parse_listen

if TYPE_CHECKING:
    from gateway.demo import Guide
    from gateway.emulator import Seed
    from gateway.emulator.seed import SeedAccessKey

_PORT = click.IntRange(1, 65535)
_REPOSITORY = Path(__file__).parent.parent


@click.command()
@click.option("--listen", metavar="ADDRESS", default=f"{LOOPBACK}:8200", show_default=True, help="Where to serve.")
@click.option("--seed", metavar="FILE", type=click.Path(path_type=Path), help="Who there is.  [config/emulator.yaml]")
@click.option("--allow-remote", is_flag=True, help="Let other machines reach it. It proves nobody's identity.")
def emulator(listen: str, seed: Path | None, allow_remote: bool) -> None:
    """Run a local Descope for development.

    It knows the people of its seed file, who are invented, and proves nobody's identity. Its state is lost at its end.
    """
    try:
        address = parse_listen(listen)
    except ValueError as err:
        raise click.UsageError(f"--listen: {err}") from None
    planted = _seed(seed or _project_file("emulator.yaml", "name one with --seed FILE"))
    check_free(address, "--listen")
    run(_emulate(planted, address, allow_remote))


async def _emulate(seed: "Seed", listen: Listen, allow_remote: bool) -> None:
    from gateway.emulator import DEVELOPMENT_NOTICE, Emulator, NotLoopbackError
    from gateway.emulator import serve as serving

    signals = Signals()
    try:
        async with serving(Emulator(seed), *listen, allow_remote=allow_remote) as url:
            click.echo(DEVELOPMENT_NOTICE)
            click.echo(f"\nServing {url}. Point a gateway or an SDK at it:")
            click.echo(f"  export DESCOPE_PROJECT_ID={seed.project_id} DESCOPE_BASE_URI={url}")
            click.echo(f"What it was asked: {url}/_emulator/requests. Ctrl-C ends it.")
            await signals.told()
    except NotLoopbackError as err:
        raise click.UsageError(str(err)) from None
    click.echo("The emulator has ended.")


@click.command()
@click.option("--port", type=_PORT, default=8080, show_default=True, help="Where the site is.")
@click.option("--admin-port", type=_PORT, default=9090, show_default=True, help="Health and metrics.")
@click.option("--emulator-port", type=_PORT, default=8200, show_default=True, help="The local Descope.")
@click.option("--legacy-port", type=_PORT, default=9000, show_default=True, help="The service behind the gateway.")
def demo(port: int, admin_port: int, emulator_port: int, legacy_port: int) -> None:
    """Show it all on this machine, in one command.

    A local Descope, an old service that knows nothing of sign-in, and the gateway in front of it.
    """
    ports = {"--port": port, "--admin-port": admin_port, "--emulator-port": emulator_port, "--legacy-port": legacy_port}
    options: dict[int, str] = {}
    for option, number in ports.items():
        other = options.setdefault(number, option)
        if other != option:
            raise click.UsageError(f"{other} and {option} are both {number}; give each a port of its own")
    seed = _seed(_project_file("emulator.yaml"))
    routes = _project_file("routes.yaml")
    for option, number in ports.items():
        check_free(Listen(LOOPBACK, number), option)
    run(_demonstrate(seed, routes, ports))


async def _demonstrate(seed: "Seed", routes: Path, ports: Mapping[str, int]) -> None:
    from tempfile import TemporaryDirectory

    from rich.console import Console

    from gateway.app import Gateway
    from gateway.demo import Legacy
    from gateway.emulator import Emulator
    from gateway.emulator import serve as serving
    from gateway.telemetry import set_up_logging

    signals = Signals()
    listen, admin = Listen(LOOPBACK, ports["--port"]), Listen(LOOPBACK, ports["--admin-port"])
    async with contextlib.AsyncExitStack() as stack:
        descope = await stack.enter_async_context(serving(Emulator(seed), LOOPBACK, ports["--emulator-port"]))
        legacy = Legacy(ports["--legacy-port"], sign_out="/.auth/logout")
        environment = {
            "DESCOPE_PROJECT_ID": seed.project_id,
            "DESCOPE_BASE_URI": descope,
            "LEGACY_URL": legacy.start(),
            "GATEWAY_PUBLIC_URL": f"http://{listen}",
        }
        set_up_logging("text")
        gateway = Gateway(loaded(routes, environment), log_form="text")
        await stack.enter_async_context(started(gateway, listen, admin, "--port"))
        # Ended before the gateway is: a page that listens to events would hold that up for the whole grace time.
        stack.callback(legacy.stop)
        try:
            await gateway.keyring.ready()
        except IdentityProviderError as err:
            remedy = "where a proxy is set (HTTP_PROXY), exempt this machine from it: export NO_PROXY=127.0.0.1"
            raise ConfigError(
                (f"the demo's gateway cannot reach its local Descope at {descope} ({err}); {remedy}",)
            ) from None
        folder = stack.enter_context(TemporaryDirectory(prefix="gateway-demo-"))
        addresses = {
            "the site": f"http://{listen}/",
            "sign-in page": f"http://{listen}/.auth/login",
            "who am I": f"http://{listen}/.auth/me",
            "health, metrics": f"http://{admin}/readyz  http://{admin}/metrics",
            "codes and links": f"{descope}/_emulator/inbox",
            "the local Descope": f"{descope}/_emulator/requests",
            "the service itself": f"{legacy.url}/  (try it: it believes whatever it is told)",
        }
        _guide(seed, f"http://{listen}", addresses, f"{folder}/cookies").print(Console(highlight=False))
        await signals.told()
        click.echo("\nEnding the service, the gateway and the local Descope ...")
    click.echo("All of it has ended; nothing was kept.")


# --- files and words ------------------------------------------------------------------------------------------------


def _seed(path: Path) -> "Seed":
    from gateway.emulator import SeedError, load_seed

    try:
        return load_seed(path)
    except SeedError as err:
        raise ConfigError(tuple(str(err).splitlines())) from None


def _project_file(name: str, remedy: str = "") -> Path:
    """A file of `config/`, from where the command is run or from the repository that the package lies in."""
    for folder in (Path.cwd(), _REPOSITORY):
        if (folder / "config" / name).is_file():
            return folder / "config" / name
    otherwise = f", or {remedy}" if remedy else ""
    raise ConfigError((f"there is no config/{name} in {Path.cwd()}; run this in a clone of the repository{otherwise}",))


def _guide(seed: "Seed", site: str, addresses: Mapping[str, str], cookie_file: str) -> "Guide":
    from gateway.demo import Door, Guide, Key, Person

    people = tuple(
        Person(
            person.name or person.login_id,
            person.login_id,
            person.password.get_secret_value() if person.password else "",
            _held(person.roles, person.tenants),
            "" if person.status == "enabled" and person.password else f"cannot sign in: {person.status}",
        )
        for person in seed.people
    )
    keys = tuple(
        Key(
            key.name,
            key.cleartext.get_secret_value(),
            f"those of {key.user}" if key.user else _held(key.roles, key.tenants),
            _spent(key, time.time()),
        )
        for key in seed.access_keys
    )
    return Guide(site, people, keys, tuple(Door(what, url) for what, url in addresses.items()), cookie_file)


def _held(roles: Sequence[str], tenants: Mapping[str, Sequence[str]]) -> str:
    inside = (f"{', '.join(names)} in {tenant}" for tenant, names in tenants.items())
    return "; ".join((", ".join(roles) or "none", *inside))


def _spent(key: "SeedAccessKey", now_s: float) -> str:
    if key.expires_at and key.expires_at <= now_s:
        return "refused: it has expired"
    return "" if key.active else "refused: it is not active"
