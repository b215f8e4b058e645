"""The keeper: the one process that asks Descope and holds what is shared; operators ask it, too.

It serves no client. Workers come to its Unix socket, say what they know, and hear of every change from then on. Where
it takes the place of one that died, it answers no worker before all have told it what the last one knew, or two seconds
are over: a refresh token that was spent must not be sent to Descope again.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from socket import socket
from typing import Any

from aiohttp import web

from gateway import bypass
from gateway.admin import Admin, rendered, watched_of
from gateway.assertion_keys import AssertionKeys
from gateway.audit import Audit
from gateway.changes import Change
from gateway.clock import SystemClock
from gateway.core.errors import ConfigError, IdentityProviderError
from gateway.decisions import Decided
from gateway.holding import Holding
from gateway.listening import Address, listen
from gateway.reload import refuse_restart
from gateway.routefile import Config
from gateway.status import StatusPage, Watched
from gateway.tasks import Tasks
from gateway.telemetry import Metrics, log
from gateway.workers.channel import Channel, ChannelClosed
from gateway.workers.copies import Copies
from gateway.workers.overview import Overview
from gateway.workers.plan import Plan
from gateway.workers.questions import Questions

_HEARD_WITHIN_S = 1.0
_KNOWN_WITHIN_S = 2.0
_PREPARED_WITHIN_S = 30.0
_GATHERED_WITHIN_S = 2.0
_LOOK_EVERY_S = 5.0
_LOOK_SHARE = 200.0
_LOOK_AT_LEAST_EVERY_S = 60.0
_MISSED = 3
_LOOK_FOR_READY_EVERY_S = 0.1
_SIGNS = 5  # of life, where the parent expects one
_READY = "ready"


@dataclass(eq=False, slots=True)
class Member:
    """A worker as the keeper knows it. name: "" until it has said hello.

    missed: how often in a row it gave no sign of life.
    """

    channel: Channel
    number: int = -1
    name: str = ""
    standing: str = "starting"
    missed: int = 0


class Keeper:
    """Construct, `start`, `stop`."""

    def __init__(
        self, plan: Plan, *, after: Sequence[Any] | None, tell_parent: Callable[[dict[str, object]], None]
    ) -> None:
        """after: what the keeper before this one had counted, None for the first. tell_parent: sends it a message."""
        self._plan = plan
        self._text = plan.text
        self.config = plan.config
        self._tell_parent = tell_parent
        self._clock = SystemClock()
        self.tasks = Tasks()
        self.metrics = Metrics()
        lost = self.metrics.audit_lost.inc
        audit = plan.config.audit
        self._audit = Audit(audit, sys.stdout, self._clock.now_s, lost) if audit else None
        self.holding = Holding(
            plan.config, self.metrics, self._audit, self.tasks, self._clock, tell=self._tell_everybody
        )
        self._assertion_keys: AssertionKeys | None = None
        self._members: dict[Channel, Member] = {}
        self._said_hello: set[Channel] = set()
        self._overview = Overview(self.metrics, after)
        self._is_stopping = False
        self._gathered = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._runners: list[web.ServerRunner] = []
        self._server: asyncio.Server | None = None
        self.admin_address: Address | None = None
        if after is None:
            self._gathered.set()
        self._questions = Questions(self.holding, self._everybody_knows)
        self._copies = Copies(plan.config.tokens, self.holding.state, lambda: self._assertion_keys)

    # --- start and stop ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Have workers come, and operators. Raises ConfigError."""
        plan, tasks, metrics = self._plan, self.tasks, self.metrics
        self._make_assertion_keys(self.config)
        metrics.reload_success.set(1)
        metrics.keys_age.set_function(lambda: self.holding.keyring.age_s if self.holding.keyring.is_ready else -1)
        metrics.workers.set_function(lambda: sum(one.standing == _READY for one in self._members.values()))
        if not self._gathered.is_set():
            asyncio.get_running_loop().call_later(_GATHERED_WITHIN_S, self._gathered.set)
            tasks.start(self._forget_the_dead(), "let go of workers that are no more")
        tasks.start(self._keep_fresh(), "keep the signing keys fresh")
        tasks.start(self._keep_count(), "keep what workers have counted")
        tasks.start(self._keep_looking(), "look for workers that hang")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._come, sock=plan.meeting.socket.dup())
        self.admin_address = await self._listen(web.Server(Admin(self).serve), plan.admin)
        if plan.status is not None:
            page = web.Server(StatusPage(self.watched, self.look).serve)
            log.info("status page", url=f"http://{await self._listen(page, plan.status)}/")
        tasks.start(bypass.warn(self.config.upstreams, {plan.listen.port}), "look for ways past the gateway")

    async def _listen(self, server: web.Server, where: Sequence[socket]) -> Address:
        runner, address = await listen(server, where, self.config.shutdown.grace_s)
        self._runners.append(runner)
        return address

    async def _forget_the_dead(self) -> None:
        """Workers that died with the last keeper never greet this one; what they counted stays."""
        await asyncio.sleep(2 * _GATHERED_WITHIN_S)
        self._overview.keep_only({member.name for member in self._members.values()})

    async def _keep_fresh(self) -> None:
        await self._gathered.wait()  # workers may bring keys
        await self.holding.keyring.keep_fresh()

    async def keep_told(self) -> None:
        """Tell the parent whether all serve when that changes, and over and over as a sign of life; for ever."""
        was_ready = told = False
        next_s = 0.0
        while True:
            is_ready, now_s = self.is_ready, self._clock.mono_s()
            if is_ready != told or now_s >= next_s:
                self._tell_parent({"ready": is_ready})
                told, next_s = is_ready, now_s + self._plan.pace.sign_of_life_s / _SIGNS
            if is_ready and not was_ready:
                was_ready = True
                plan, descope = self._plan, self.holding.idp.base_url
                where = {"listen": str(plan.listen), "admin": str(self.admin_address)}
                log.info("serving", **where, descope=descope, workers=plan.workers)
            await asyncio.sleep(_LOOK_FOR_READY_EVERY_S)

    def count_end(self, process: str) -> None:
        """A process of the gateway, "worker" or "keeper", has ended unasked."""
        self.metrics.worker_ends.labels(process).inc()

    def stopping(self) -> None:
        """The whole gateway is about to stop."""
        self._is_stopping = True

    async def emptied(self) -> None:
        """Return once no worker is left."""
        while self._members:
            await asyncio.wait([channel.closed for channel in self._members])

    async def stop(self) -> None:
        self._is_stopping = True
        if self._server is not None:
            self._server.close()
        for runner in self._runners:
            await runner.cleanup()
        for channel in tuple(self._members):
            channel.close()
        await self.tasks.close()
        await self.holding.idp.close()
        if self._audit is not None:
            self._audit.close()

    def _make_assertion_keys(self, config: Config) -> None:
        if self._assertion_keys is None and any(upstream.assertion for upstream in config.upstreams):
            self._assertion_keys = AssertionKeys(config.assertion, self._clock, self._tell_everybody)
            if config.assertion.key_file:
                self.tasks.start(self._assertion_keys.keep_watch(), "watch the file of assertion keys")

    # --- workers ----------------------------------------------------------------------------------------------------

    def _come(self) -> Channel:
        """Somebody connects."""
        member: Member

        async def answer(question: str, members: dict[str, Any]) -> object:
            return await self._answered(member, question, members)

        channel = Channel(self.tasks, answer, lambda change: self._heard(member, change))
        member = Member(channel)
        channel.closed.add_done_callback(lambda _: self._left(member))
        return channel

    def _left(self, member: Member) -> None:
        if self._members.pop(member.channel, None) is None:
            return
        self._overview.gone(member.name)

    async def _answered(self, member: Member, question: str, members: dict[str, Any]) -> object:
        if question == "hello":
            self._told_by(member, members["changes"])
            # Whoever begins to serve must know what the others know; the last of them may be on its way.
            await self._gathered.wait()
            async with self._reloading:
                return self._greeted(member, members["number"], members["name"])
        if member.name and self._questions.knows(question):
            return await self._questions.answer(question, members)
        raise ValueError("nobody may ask that")

    def _told_by(self, member: Member, changes: list[Change]) -> None:
        """What a worker knows counts here, and for the others."""
        for change in changes:
            self._copies.hear(change)
        self._said_hello.add(member.channel)
        if sum(not channel.closed.done() for channel in self._said_hello) >= self._plan.workers:
            self._gathered.set()

    def _greeted(self, member: Member, number: int, name: str) -> object:
        """A worker has said hello: from now on it is told of every change."""
        self._said_hello.discard(member.channel)
        if member.channel.closed.done():
            return None
        member.number, member.name = number, name
        self._members[member.channel] = member
        return {"text": self._text, "changes": list(self._copies.changes())}

    def _heard(self, member: Member, change: Change) -> None:
        match change:
            case ["standing", str(standing)]:
                member.standing = standing
            case ["last", dict(known)]:
                self._take(member, known)
            case _:
                self._copies.hear(change)

    def _tell_everybody(self, change: Change) -> None:
        for channel in self._members:
            channel.tell(change)

    async def _everybody_knows(self) -> None:
        """Return once every worker has heard what was told until now; one that is stuck is not waited for long."""
        await self._ask_all("heard", _HEARD_WITHIN_S)

    async def _ask_all(self, question: str, within_s: float, **members: object) -> list[tuple[Member, Any]]:
        """What each worker answers; those that are gone, or do not answer in time, are left out."""

        async def ask(member: Member) -> tuple[Member, Any] | None:
            with suppress(ChannelClosed, TimeoutError, IdentityProviderError):
                async with asyncio.timeout(within_s):
                    return member, await member.channel.ask(question, **members)
            return None

        answers = await asyncio.gather(*(ask(member) for member in self._members.values()))
        return [answer for answer in answers if answer is not None]

    async def _keep_looking(self) -> None:
        """A worker that gives no sign of life is as bad as a dead one, and its clients wait; the parent replaces it."""
        while True:
            await asyncio.sleep(self._plan.pace.sign_of_life_s)
            asked = tuple(self._members.values())
            alive = {id(one) for one, _ in await self._ask_all("heard", self._plan.pace.sign_of_life_s)}
            for member in asked:
                member.missed = 0 if id(member) in alive else member.missed + 1
                if member.missed >= _MISSED and member.channel in self._members:
                    log.error("a worker gives no sign of life", worker=member.number + 1)
                    self._tell_parent({"silent": member.number})

    # --- reload -----------------------------------------------------------------------------------------------------

    async def take_up(self, text: str, config: Config) -> None:
        """Serve by another route file, all or none; raises ConfigError, and changes nothing, where a worker cannot."""
        async with self._reloading:
            refuse_restart(self.config, config)
            self._make_assertion_keys(config)
            await self._prepare(text)
            # The parent first: whoever it forks from now on begins with this one.
            self._tell_parent({"text": text})
            self._text, self.config = text, config
            if self._assertion_keys is not None:
                for change in self._assertion_keys.changes():
                    self._tell_everybody(change)
            await self._ask_all("commit", _PREPARED_WITHIN_S, text=text)
        for warning in config.warnings:
            log.warning(warning)

    async def _prepare(self, text: str) -> None:
        asked = tuple(self._members.values())
        ready = await self._ask_all("prepare", _PREPARED_WITHIN_S, text=text)
        late = {one.number for one in asked if one.channel in self._members} - {one.number for one, _ in ready}
        if late:
            raise ConfigError((f"worker {min(late) + 1} could not take it up in {_PREPARED_WITHIN_S:g} s; try again",))

    # --- as operators see it ----------------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        return self.standing() == _READY

    def standing(self) -> str:
        if self._is_stopping:
            return "stopping"
        if not self.holding.keyring.is_ready:
            return "no signing keys yet"
        serving = sum(one.standing == _READY for one in self._members.values())
        return _READY if serving == self._plan.workers else f"{serving} of {self._plan.workers} workers serve"

    @property
    def version(self) -> str:
        return self.config.version

    async def exposition(self) -> bytes:
        await self.look()
        return await rendered(self._overview.totals)

    async def decided(self) -> Sequence[Decided]:
        await self.look()
        return self._overview.decided()

    async def look(self) -> None:
        """Ask all workers what they have counted and seen."""
        for member, known in await self._ask_all("known", _KNOWN_WITHIN_S):
            self._take(member, known)
        # Before anybody is told: the next keeper goes on from here, and no counter goes down.
        self._tell_parent({"carried": self._overview.take_own()})

    def _take(self, member: Member, known: dict[str, Any]) -> None:
        if member.channel in self._members:
            self._overview.take(member.name, known)

    async def _keep_count(self) -> None:
        """What a worker that is killed had counted since is lost; this is how little that may be."""
        took_s = 0.0
        while True:
            # With thousands of routes there is much to tell, and it must not keep the workers from their requests.
            await asyncio.sleep(min(max(_LOOK_EVERY_S, _LOOK_SHARE * took_s), _LOOK_AT_LEAST_EVERY_S))
            began_s = self._clock.mono_s()
            await self.look()
            took_s = self._clock.mono_s() - began_s

    def watched(self) -> Watched:
        return watched_of(
            self.config,
            self.holding,
            self._clock,
            self._overview.sight(),
            decisions=self._overview.decided(),
            standing=self.standing(),
            workers=[one.standing for one in self._members.values()],
        )
