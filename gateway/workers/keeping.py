"""The keeper's process: from its first breath to its last."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from socket import socket
from typing import Any

from gateway.process import Signals
from gateway.reload import Reloader
from gateway.telemetry import log, set_up_logging
from gateway.workers.keeper import Keeper
from gateway.workers.plan import Plan

_LEAVES_S = 5.0


async def keep(plan: Plan, after: Sequence[Any] | None, control: socket) -> None:
    """Keep until the process is told to end. after: as for `Keeper`. control: the way to the parent."""
    signals = Signals(interrupts=False)
    set_up_logging(plan.settings.log, process="keeper")
    reader, writer = await asyncio.open_connection(sock=control)
    keeper = Keeper(
        plan, after=after, tell_parent=lambda message: writer.write(json.dumps(message).encode("ascii") + b"\n")
    )
    reloader = Reloader(plan.route_file, plan.environment, plan.config, keeper.take_up, keeper.metrics)
    signals.on_hangup(reloader.tell)
    await keeper.start()
    keeper.tasks.start(_obey(reader, plan, keeper, signals), "obey the parent")
    keeper.tasks.start(keeper.keep_told(), "tell the parent how things stand")
    await reloader.reload(asked=False)  # nobody has looked since it was read
    keeper.tasks.start(reloader.keep_watch(), "watch the route file")
    await signals.told()
    # Whoever signals all processes at once means the workers first; they need this one until they have finished.
    keeper.stopping()
    await _emptied(plan, keeper)
    await keeper.stop()
    writer.close()


async def _obey(reader: asyncio.StreamReader, plan: Plan, keeper: Keeper, signals: Signals) -> None:
    """The parent says when all stop; where it ends without a word, the workers finish what they do, and that is all."""
    # One that is killed, and leaves unread what it was told, breaks the connection instead of ending it.
    with suppress(OSError):
        while said := (await reader.readline()).split():
            match said:
                case [b"ended", process]:
                    keeper.count_end(process.decode())
                case _:
                    keeper.stopping()
    keeper.stopping()
    log.critical("the parent is gone; the workers finish what runs, and all ends")
    await _emptied(plan, keeper)
    plan.meeting.close()
    signals.tell()


async def _emptied(plan: Plan, keeper: Keeper) -> None:
    rules = plan.config.shutdown
    with suppress(TimeoutError):
        async with asyncio.timeout(rules.delay_s + rules.grace_s + _LEAVES_S):
            await keeper.emptied()
