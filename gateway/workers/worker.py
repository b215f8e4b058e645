"""One worker: serves as a gateway does that is alone, but for what it asks the keeper."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway import decisions, routefile
from gateway.app import Gateway, Shared
from gateway.changes import Change
from gateway.clock import SystemClock
from gateway.holding import rules_of
from gateway.process import Signals
from gateway.tasks import Tasks
from gateway.telemetry import set_up_logging
from gateway.workers import sight
from gateway.workers.channel import Channel
from gateway.workers.copies import Copies
from gateway.workers.link import KeeperLink
from gateway.workers.plan import Plan
from gateway.workers.remote import RemoteState
from gateway.workers.totals import dumped

if TYPE_CHECKING:
    from gateway.routefile import Config
    from gateway.traces import Traces

_LOOK_EVERY_S = 0.1
STANDING, LAST = "standing", "last"  # what a worker tells of itself


async def work(plan: Plan, number: int, name: str, orphaned: int, traces: "Callable[[], Traces | None]") -> None:
    """Serve until the process is told to end. number: which worker; name: of this process among all that ever were.

    orphaned: a pipe that ends with the parent; without it the worker ends too, orderly.
    """
    signals = Signals(interrupts=False)
    set_up_logging(plan.settings.log, process=f"worker {number + 1}")
    loop = asyncio.get_running_loop()

    def alone() -> None:
        loop.remove_reader(orphaned)  # an ended pipe can be read for ever
        signals.tell()

    loop.add_reader(orphaned, alone)
    await Worker(plan, number, name, traces()).serve(signals)


class Worker:
    def __init__(self, plan: Plan, number: int, name: str, traces: "Traces | None" = None) -> None:
        self._plan = plan
        self._number = number
        self._name = name
        self._text = plan.text
        self._preparing = ""
        self._prepared: tuple[str, Callable[[], None]] | None = None
        self._greeted = asyncio.Event()
        self._tasks = tasks = Tasks()
        clock = SystemClock()
        self._link = KeeperLink(plan.meeting.path, tasks, answer=self._answer, hear=self._hear)
        state = RemoteState(rules_of(plan.config), self._link, tasks=tasks, clock=clock)
        shared = Shared(state, state.keyring, plan.allowances, plan.sign_in_allowances, plan.workers)
        self.gateway = Gateway(
            plan.config, log_form=plan.settings.log, clock=clock, traces=traces, tasks=tasks, shared=shared
        )
        self._copies = Copies(plan.config.tokens, state, lambda: self.gateway.assertion_keys)

    async def serve(self, signals: Signals) -> None:
        """Greet the keeper, listen, and stop once told."""
        self._tasks.start(self._link.keep(self._greet), "keep in touch with the keeper")
        self._tasks.start(self._tell_standing(), "tell the keeper how things stand")
        told = self._tasks.spawn(signals.told(), "wait for the end")
        greeted = self._tasks.spawn(self._greeted.wait(), "wait for the first keeper")
        await asyncio.wait((told, greeted), return_when=asyncio.FIRST_COMPLETED)
        greeted.cancel()
        if not told.done():
            await self.gateway.start(self._plan.sockets[self._number], None)
            await told
        await self.gateway.stop(before_end=self._say_last)
        await self._link.close()

    def _say_last(self) -> None:
        self._link.tell([LAST, self._known()])

    # --- with the keeper --------------------------------------------------------------------------------------------

    async def _greet(self, channel: Channel) -> None:
        """Tell a keeper all that is known here, and take up all that is known there."""
        greeting = await channel.ask(
            "hello", number=self._number, name=self._name, text=self._text, changes=list(self._copies.changes())
        )
        self._prepared = None
        if greeting["text"] != self._text:
            await self._prepare(greeting["text"])
            self._commit()
        for change in greeting["changes"]:
            self._link.hear(change)
        channel.tell([STANDING, self.gateway.standing()])
        self._greeted.set()

    def _compiled(self, text: str) -> "Config":
        return routefile.parse(text, str(self._plan.route_file), self._plan.environment)

    async def _answer(self, question: str, members: dict[str, Any]) -> object:
        match question:
            case "heard":
                return None
            case "known":
                return self._known()
            case "prepare":
                await self._prepare(members["text"])
                return None
            case "commit":
                if self._prepared is None or self._prepared[0] != members["text"]:
                    await self._prepare(members["text"])
                self._commit()
                return None
            case _:
                raise ValueError("nobody asks that")

    async def _prepare(self, text: str) -> None:
        """Compile another route file; raises ConfigError. One that is overtaken by a later one comes to nothing."""
        self._preparing = text
        # A large file takes its time, and requests go on meanwhile.
        config = await asyncio.to_thread(self._compiled, text)
        if self._preparing == text:
            self._prepared = text, self.gateway.prepared(config)

    def _commit(self) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            self._text, swap = prepared
            swap()

    def _hear(self, change: Change) -> None:
        self._copies.hear(change)

    def _known(self) -> dict[str, object]:
        gateway = self.gateway
        return {
            "metrics": dumped(gateway.metrics.registry),
            "sight": sight.spelled(gateway.sight()),
            "decisions": decisions.spelled(gateway.decisions.newest()),
        }

    async def _tell_standing(self) -> None:
        told = ""
        while True:
            standing = self.gateway.standing()
            if standing != told:
                self._link.tell([STANDING, standing])
                told = standing
            await asyncio.sleep(_LOOK_EVERY_S)
