"""The command line. Each command imports what it needs when it runs: to say what there is must be quick.

Whatever is wrong with arguments, files or addresses is one sentence that names the thing and the remedy, and exit code
2 (the command was not given rightly) or 1 (it was, and the thing it names is not good). A traceback is a bug.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway import __version__
from gateway.cli_local import demo, emulator
from gateway.core.errors import ConfigError
from gateway.process import LOOPBACK, Signals, check_free, import_to_serve, loaded, run, started
from gateway.settings import DEFAULT_ADMIN, DEFAULT_LISTEN, Listen, Settings, read_settings

if TYPE_CHECKING:
    from gateway.core.model import Identity, Reason
    from gateway.routefile import Config
    from gateway.traces import Traces

_FROM_INPUT = ("-",)


class _Commands(click.Group):
    """Commands in the order they are written; what cannot be served is told, not raised."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as err:
            for problem in err.problems:
                click.echo(problem, err=True)
            ctx.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", message="gateway %(version)s")
def cli() -> None:
    """An authenticating reverse proxy: Descope sessions in front of services that know nothing about sign-in.

    New here? "gateway demo" shows everything on this machine, without an account anywhere.
    """


def main() -> None:
    """The entry point of the `gateway` command."""
    cli(prog_name="gateway")


# --- serving --------------------------------------------------------------------------------------------------------


@cli.command()
@click.option("--config", metavar="FILE", help="The route file. Also from GATEWAY_CONFIG.")
@click.option("--listen", metavar="ADDRESS", help=f"Where clients come in. Also GATEWAY_LISTEN.  [{DEFAULT_LISTEN}]")
@click.option("--admin", metavar="ADDRESS", help=f"Health and metrics. Also GATEWAY_ADMIN.  [{DEFAULT_ADMIN}]")
@click.option("--status", metavar="ADDRESS", help="A status page, on loopback. Also GATEWAY_STATUS.  [none]")
@click.option("--workers", metavar="N", help="Processes that serve, or auto: one a core. Also GATEWAY_WORKERS.  [1]")
def serve(config: str | None, listen: str | None, admin: str | None, status: str | None, workers: str | None) -> None:
    """Serve the routes of a route file.

    GATEWAY_LOG sets the form of the log: json (the default), text or off. GATEWAY_TRACES=otlp writes OpenTelemetry
    traces. SIGTERM ends orderly: what runs is finished within the route file's `shutdown.grace`.
    """
    settings = _settings({"config": config, "listen": listen, "admin": admin, "status": status, "workers": workers})
    if settings.config is None:
        raise click.UsageError("no route file was named; give one with --config FILE or GATEWAY_CONFIG")
    import_to_serve()
    if settings.workers > 1:
        sys.exit(_supervise(settings.config, settings))
    compiled = loaded(settings.config, os.environ)
    _check_free(settings)
    run(_serve(compiled, settings.config, settings, _traces(settings)))


def _supervise(path: Path, settings: Settings) -> int:
    from gateway.routefile import text_of
    from gateway.workers.plan import made
    from gateway.workers.supervision import supervise

    text = text_of(path)
    _check_free(settings)
    return supervise(made(settings, path, text, os.environ), lambda: _traces(settings))


def _check_free(settings: Settings) -> None:
    check_free(settings.listen, "--listen")
    check_free(settings.admin, "--admin")
    if settings.status is not None:
        check_free(settings.status, "--status")


def _traces(settings: Settings) -> "Traces | None":
    if settings.traces != "otlp":
        return None
    try:
        from gateway.traces import Traces
    except ModuleNotFoundError as err:
        if not (err.name or "").startswith(("opentelemetry", "google")):
            raise
        raise ConfigError(
            ("GATEWAY_TRACES=otlp needs the extra otel; install gateway[otel], or leave the variable out",)
        ) from None
    try:
        return Traces()
    except ValueError as err:
        raise ConfigError((f"a variable of OpenTelemetry makes no sense: {err}",)) from None


async def _serve(config: "Config", path: Path, settings: Settings, traces: "Traces | None") -> None:
    from gateway.app import Gateway
    from gateway.reload import Reloader
    from gateway.telemetry import set_up_logging

    signals = Signals()
    set_up_logging(settings.log)
    gateway = Gateway(config, log_form=settings.log, traces=traces)

    async def take_up(_: str, config: "Config") -> None:
        gateway.take_up(config)

    reloader = Reloader(path, os.environ, config, take_up, gateway.metrics)
    signals.on_hangup(reloader.tell)
    gateway.tasks.start(reloader.keep_watch(), "watch the route file")
    async with started(gateway, settings.listen, settings.admin, "--listen", settings.status):
        await signals.told()


def _settings(given: Mapping[str, str | None]) -> Settings:
    try:
        return read_settings(os.environ, given)
    except ConfigError as err:
        raise click.UsageError("\n".join(err.problems)) from None


# --- looking at a route file ----------------------------------------------------------------------------------------


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check a route file, and run the tests written in it.

    Every problem is told as file:line:column. Exit code 0: good. 1: it is not.
    """
    from gateway.explain import failures
    from gateway.reports import Report

    report = Report()
    try:
        config = loaded(file, os.environ)
    except ConfigError as err:
        for problem in err.problems:
            report.bad(problem)
        count = len(err.problems)
        report.line(f"{file}: {count} problem{'s' * (count != 1)}; a gateway would not start with it")
        sys.exit(1)
    for warning in config.warnings:
        report.line((f"warning: {warning}", "yellow"))
    failed = failures(config)
    for failure in failed:
        report.bad(failure.what)
        report.line(f"    {failure.why}")
    routes, tests = len(config.table.routes), len(config.expectations)
    counted = f"{routes} route{'s' * (routes != 1)}, {tests} test{'s' * (tests != 1)}"
    if failed:
        report.line(f"{file}: {counted}, {len(failed)} of them failed")
        sys.exit(1)
    report.good(f"{file}: good; {counted}{', all passed' if tests else ''}")


@cli.command()
@click.argument("method", required=False)
@click.argument("url", required=False)
@click.option("--request-id", metavar="ID", help="Tell what a running gateway decided on this request.")
@click.option("--admin", metavar="ADDRESS", help="Where to ask for --request-id.  [GATEWAY_ADMIN]")
@click.option("--config", metavar="FILE", help="The route file. Also from GATEWAY_CONFIG.")
@click.option(
    "--token",
    metavar="JWT",
    help="Judge for this session token, verified with the project's keys; - reads it from standard input.",
)
@click.option("--as", "as_", metavar="JSON", help="""Judge for this caller, such as '{"roles": ["admin"]}'.""")
@click.option("--client", metavar="IP", default=LOOPBACK, show_default=True, help="The client's address.")
def explain(  # one for each option
    *,
    method: str | None,
    url: str | None,
    request_id: str | None,
    admin: str | None,
    config: str | None,
    token: str | None,
    as_: str | None,
    client: str,
) -> None:
    """Say what would happen to a request, and why.

    URL may be a path alone. Without --token or --as nobody is signed in. A caller for --as has any of: subject, kind
    (session or access_key), roles, permissions, tenants ({id: {roles, permissions}}), tenant (the selected one) and
    claims.

    With --request-id and nothing else, the admin listener of a running gateway is asked what it decided on a request
    that was refused or failed; it remembers the last 500 of them.

    Exit code 0: admitted, or told. 1: refused, or no longer remembered. 2: the command was not given rightly.
    """
    if request_id is not None:
        if method is not None or config is not None or token is not None or as_ is not None:
            raise click.UsageError("--request-id asks a running gateway; nothing but --admin goes with it")
        _tell_recorded(request_id, admin)
        return
    if method is None or url is None:
        raise click.UsageError("say what to explain: METHOD and URL, or --request-id of a request that was refused")
    from gateway.core.model import Reason
    from gateway.explain import Asked
    from gateway.explain import explain as account_of
    from gateway.reports import Report

    settings = _settings({"config": config})
    if settings.config is None:
        raise click.UsageError("no route file was named; give one with --config FILE or GATEWAY_CONFIG")
    if token is not None and as_ is not None:
        raise click.UsageError("--token and --as both say who asks; give one of them")
    _check_client(client)
    compiled = loaded(settings.config, os.environ)
    caller: Identity | Reason = Reason.NO_CREDENTIALS
    if as_ is not None:
        caller = _imagined(as_)
    elif token is not None:
        caller = run(_proved(compiled, sys.stdin.read() if token in _FROM_INPUT else token))
    try:
        asked = Asked(method.upper(), url, caller, client)
        account = account_of(compiled.table, compiled.server, asked)
    except ValueError as err:
        raise click.UsageError(str(err)) from None
    Report().account(asked, account)
    sys.exit(0 if account.is_admitted else 1)


def _tell_recorded(request_id: str, admin: str | None) -> None:
    from gateway.recorded import is_request_id, recorded
    from gateway.reports import Report

    if not is_request_id(request_id):
        raise click.UsageError("--request-id: an id is up to 64 letters, digits, dots and hyphens, as in X-Request-Id")
    listen = _settings({"admin": admin}).admin
    found = recorded(request_id, _asked_at(listen), listen)
    report = Report()
    if not found:
        report.line(
            f"{listen} remembers no decision on {request_id}: it was admitted, another gateway decided it, or it is "
            "no longer in memory. Look for the id in the request log."
        )
        sys.exit(1)
    for number, one in enumerate(found):
        if number:
            report.line()
        report.recorded(one)


def _asked_at(listen: Listen) -> str:
    """Who listens on every interface is asked over loopback."""
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(listen.host, listen.host)  # noqa: S104  # compared with, not bound to


def _check_client(client: str) -> None:
    from ipaddress import ip_address

    try:
        ip_address(client)
    except ValueError:
        raise click.UsageError(f"--client: {client!r} is no IP address, such as 192.0.2.7") from None


def _imagined(text: str) -> "Identity | Reason":
    import json

    from gateway.core.imagined import imagined
    from gateway.core.model import Reason

    if text == "anonymous":
        return Reason.NO_CREDENTIALS
    example = """such as '{"roles": ["admin"]}', or anonymous"""
    try:
        description = json.loads(text)
    except ValueError as err:
        raise click.UsageError(f"--as is not JSON ({err}); write {example}") from None
    if not isinstance(description, dict):
        raise click.UsageError(f"--as describes a caller as a JSON object, {example}")
    identity = imagined(description)
    if isinstance(identity, str):
        raise click.UsageError(f"--as: {identity}")
    return identity


async def _proved(config: "Config", token: str) -> "Identity | Reason":
    """Who a session token proves to be; says on standard error what else the asker should know, never the token."""
    from gateway.clock import SystemClock
    from gateway.core import tokens
    from gateway.core.errors import IdentityProviderError
    from gateway.core.model import Reason
    from gateway.idp import IdentityProvider

    token = token.strip()
    if not tokens.is_jwt(token):
        note = "--token is no JWT. It takes a session token; access keys are not exchanged here: describe one with --as"
        click.echo(f"""{note} '{{"kind": "access_key"}}'.""", err=True)
        return Reason.TOKEN_MALFORMED
    clock = SystemClock()
    provider = IdentityProvider(config.tokens, config.base_url, clock)
    try:
        document, is_emulator = await provider.fetch_keys()
    except IdentityProviderError as err:
        click.echo(
            f"The token cannot be verified: the signing keys of project {config.tokens.project_id} could not be had "
            f"from {provider.base_url} ({err}). Check descope.project_id, descope.base_url and the network.",
            err=True,
        )
        return Reason.IDENTITY_PROVIDER_UNAVAILABLE
    finally:
        await provider.close()
    keys = tokens.read_keys(document, 1)
    if keys is None:
        click.echo(f"The token cannot be verified: {provider.base_url} gave no usable signing key.", err=True)
        return Reason.IDENTITY_PROVIDER_UNAVAILABLE
    if is_emulator:
        click.echo("The signing keys are an emulator's: such a token proves nothing.", err=True)
    outcome = tokens.session(token, keys, config.tokens)
    if isinstance(outcome, Reason):
        return outcome
    return tokens.standing(outcome, clock.now_s(), config.tokens.leeway_s) or outcome


@cli.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
def diff(old: Path, new: Path) -> None:
    """Tell what another route file would decide differently.

    Exit code 0: none that the examples found. 1: some. Examples are made of every pattern and every condition of both.
    """
    from gateway.compare import differences
    from gateway.reload import needs_restart
    from gateway.reports import Report

    before, after = loaded(old, os.environ), loaded(new, os.environ)
    found, restarts = differences(before, after), needs_restart(before, after)
    Report().differences(found, restarts)
    sys.exit(1 if found or restarts else 0)


@cli.command()
def schema() -> None:
    """Print the JSON schema of route files, for editors."""
    import json

    from gateway import routefile

    click.echo(json.dumps(routefile.schema(), indent=2))


@cli.command()
@click.option("--admin", metavar="ADDRESS", help=f"The admin listener. Also GATEWAY_ADMIN.  [{DEFAULT_ADMIN}]")
def healthcheck(admin: str | None) -> None:
    """Ask a running gateway whether it is alive; exit code 0 or 1. For containers."""
    from http.client import HTTPConnection, HTTPException

    listen = _settings({"admin": admin}).admin
    connection = HTTPConnection(_asked_at(listen), listen.port, timeout=3)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as err:
        click.echo(
            f"no gateway answers at {listen} ({err}); is its admin listener there? name it with --admin", err=True
        )
        sys.exit(1)
    finally:
        connection.close()
    click.echo("alive" if status == 200 else f"{listen} answered {status}", err=status != 200)
    sys.exit(0 if status == 200 else 1)


cli.add_command(emulator)
cli.add_command(demo)
