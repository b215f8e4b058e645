"""Work that goes on beside the request that asked for it: named, held on to, ended with the gateway."""

import asyncio
import traceback
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.telemetry import log

T = TypeVar("T")


class Tasks:
    """Keeps a reference to every task it starts, for a task that nobody holds may vanish half way."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits sees it again; nobody waiting must not be a warning at exit

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Like `spawn`, for work that nobody waits for; where it fails, the log says so."""
        self.spawn(work, name).add_done_callback(_tell_of_failure)

    async def close(self) -> None:
        """Cancel what still runs and wait until it has ended."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _tell_of_failure(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        # Where, and not in which words: those may repeat what somebody sent.
        at = traceback.extract_tb(error.__traceback__)[-1]
        cause = type(error).__name__
        log.error("work in the background failed", work=task.get_name(), cause=cause, at=f"{at.name}:{at.lineno}")
