"""Runs of flows: where somebody is between the first screen and the session.

A run has a step, a life and a nonce that changes with every answer, as Descope's have: a browser that lost its nonce,
or comes too late, has to start again.
"""

import secrets
from dataclasses import dataclass, field

from gateway.emulator.shelf import Shelf

# Which flows there are, and whether somebody unknown may go through with one.
FLOWS = {"sign-up-or-in": True, "sign-in": False}


@dataclass(slots=True)
class Run:
    """One browser's way through a flow. step: "start" or "code"."""

    flow_id: str
    key: str
    version: int
    expires_s: float
    step: str = "start"
    login_id: str = ""
    turns: int = 0
    nonce: str = field(default="", repr=False)

    @property
    def execution_id(self) -> str:
        return f"{self.flow_id}|#|{self.key}"

    def turn(self) -> str:
        """The nonce for the next request of this run."""
        self.turns += 1
        self.nonce = f"{self.turns}.{secrets.token_urlsafe(12)}"
        return self.nonce


class Flows:
    """All runs under way."""

    def __init__(self) -> None:
        self._runs: Shelf[Run] = Shelf()

    def begin(self, flow_id: str, version: int, now_s: float, life_s: float) -> Run:
        """A run at its first step."""
        run = Run(flow_id, secrets.token_hex(12), version, now_s + life_s)
        self._runs.put(run.key, run, run.expires_s, now_s)
        return run

    def find(self, execution_id: str, now_s: float) -> Run | None:
        """The run of this id, where it is still going on."""
        flow_id, _, key = execution_id.partition("|#|")
        run = self._runs.get(key, now_s)
        return run if run is not None and run.flow_id == flow_id else None

    def end(self, run: Run, now_s: float) -> None:
        """No further step of this run is taken."""
        self._runs.take(run.key, now_s)
