"""The way from a worker to the keeper, over a real socket."""

import asyncio
from pathlib import Path

from gateway.changes import Change
from gateway.tasks import Tasks
from gateway.workers.channel import Channel
from gateway.workers.link import KeeperLink


async def nobody_asks(question: str, members: dict[str, object]) -> object:
    return None


async def test_what_a_worker_hears_it_does_not_tell_again(tmp_path: Path) -> None:
    tasks, heard, path = Tasks(), list[Change](), str(tmp_path / "keeper")
    server = await asyncio.get_running_loop().create_unix_server(
        lambda: Channel(tasks, nobody_asks, heard.append), path
    )

    def hear(change: Change) -> None:
        link.tell(change)

    link = KeeperLink(path, tasks, answer=nobody_asks, hear=hear)

    async def greet(channel: Channel) -> None:
        link.hear(["revoked", "00", 1])
        link.tell(["revoked", "11", 1])

    tasks.start(link.keep(greet), "keep in touch")
    async with asyncio.timeout(5):
        while not heard:
            await asyncio.sleep(0.01)
    link.hear(["revoked", "22", 1])
    link.tell(["revoked", "33", 1])
    async with asyncio.timeout(5):
        while len(heard) < 2:
            await asyncio.sleep(0.01)
    await tasks.close()
    await link.close()
    server.close()

    assert heard == [["revoked", "11", 1], ["revoked", "33", 1]]
