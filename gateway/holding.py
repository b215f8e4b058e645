"""The state together with what it is made of, in the one process that asks Descope."""

from collections.abc import Callable

from gateway import changes
from gateway.audit import Audit, Who
from gateway.changes import Tell
from gateway.clock import Clock
from gateway.idp import IdentityProvider
from gateway.keyring import DescopeKeys, Keyring
from gateway.remembered import SessionRules
from gateway.rests import Rests
from gateway.routefile import Config
from gateway.state import LocalState
from gateway.tasks import Tasks
from gateway.telemetry import Metrics, log


class Holding:
    """`state`, and for whoever starts and watches it `idp`, `keyring` and `rests`."""

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        audit: Audit | None,
        tasks: Tasks,
        clock: Clock,
        *,
        tell: Tell = changes.nobody,
    ) -> None:
        """tell: hears of every change of what other processes keep copies of."""
        self.rests = Rests(clock, lambda operation, seconds: metrics.idp_rest.labels(operation).set(seconds), tell=tell)
        self.idp = IdentityProvider(
            config.tokens,
            config.base_url,
            clock,
            observe=lambda operation, outcome: metrics.idp_requests.labels(operation, outcome).inc(),
        )
        source = DescopeKeys(self.idp, self.rests, clock)
        self.keyring = Keyring(source, tasks, clock, self._warn_of_emulator, tell)
        self.state = LocalState(
            rules_of(config),
            idp=self.idp,
            keyring=self.keyring,
            rests=self.rests,
            tasks=tasks,
            clock=clock,
            observe=observer(metrics, audit),
            tell=tell,
        )

    def _warn_of_emulator(self) -> None:
        log.warning(
            "DESCOPE IS AN EMULATOR: anybody can sign in as anybody. For a developer's machine only.",
            base_url=self.idp.base_url,
        )


def rules_of(config: Config) -> SessionRules:
    return SessionRules(config.tokens, config.refresh, config.access_keys, config.server.cookies)


def observer(metrics: Metrics, audit: Audit | None) -> Callable[[str, str, Who], None]:
    """What happens to sessions and keys: counted, and written to the audit stream where there is one."""
    counters = {"refresh": metrics.refreshes, "exchange": metrics.key_exchanges}

    def observe(event: str, outcome: str, who: Who) -> None:
        if event in counters:
            counters[event].labels(outcome).inc()
        if audit is not None:
            audit.told(event, outcome, who)

    return observe
