"""The emulator's whole state, and the controls that tests turn. Everything is lost when the process ends."""

import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any

from gateway.emulator.directory import digest
from gateway.emulator.federation import Federation
from gateway.emulator.flows import Flows
from gateway.emulator.inbox import Inbox
from gateway.emulator.keys import PrivateKey, SigningKeys
from gateway.emulator.planting import planted
from gateway.emulator.proofs import Codes, Links
from gateway.emulator.seed import Seed
from gateway.emulator.sessions import Sessions
from gateway.emulator.settings import Algorithm, Settings
from gateway.emulator.traffic import Fault, RequestRecord, Traffic


class Emulator:
    """A Descope project in memory.

    wall_s: seconds since the epoch. keys: private keys to begin with, by algorithm, in place of the process's shared
    ones.
    Not for several threads: call it from the loop that serves it.
    """

    def __init__(
        self,
        seed: Seed,
        *,
        wall_s: Callable[[], float] = time.time,
        keys: Mapping[Algorithm, PrivateKey] | None = None,
    ) -> None:
        self._wall_s = wall_s
        self._offset_s = 0.0
        self._settings = seed.settings
        self._management_digest = digest(seed.management_key.get_secret_value())
        self.project_id = seed.project_id
        self.password_policy = seed.password_policy
        self.oauth_providers = tuple(seed.oauth_providers)
        self.directory = planted(seed, wall_s())
        self.inbox = Inbox()
        self.codes = Codes()
        self.links = Links()
        self.federation = Federation()
        self.flows = Flows()
        self.traffic = Traffic()
        self.signing = SigningKeys(seed.settings.algorithm, keys)
        self.sessions = Sessions(
            self.project_id,
            self.directory,
            self.signing,
            self.traffic,
            settings=lambda: self._settings,
            now_s=self.now_s,
        )

    @property
    def settings(self) -> Settings:
        """How people sign in and sessions are made now."""
        return self._settings

    @property
    def offset_s(self) -> float:
        """How far this clock is ahead of the machine's."""
        return self._offset_s

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """The last answered requests, oldest first."""
        return self.traffic.records

    def now_s(self) -> float:
        """Seconds since the epoch, by this project's clock."""
        return self._wall_s() + self._offset_s

    def is_management_key(self, key: str) -> bool:
        """Whether this is the project's management key."""
        return hmac.compare_digest(digest(key), self._management_digest)

    def count(self, operation: str) -> int:
        """How often an operation was asked for since the last reset; or how often an `Incident` happened."""
        return self.traffic.count(operation)

    def forget_requests(self) -> None:
        """Start the request log and all counts anew."""
        self.traffic.forget()

    def fault(
        self,
        operation: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str | list[str]] | None = None,
        body: object = None,
        delay_s: float = 0.0,
        times: int | None = None,
    ) -> None:
        """Show a fault on this operation (or `any`); see `Fault`. ValueError says what is accepted."""
        self.traffic.show(
            Fault(
                operation=operation, status=status, headers=dict(headers or {}), body=body, delay_s=delay_s, times=times
            )
        )

    def clear_faults(self) -> None:
        """Show no more faults."""
        self.traffic.clear_faults()

    def advance(self, seconds: float) -> None:
        """Move this project's clock on, or back."""
        self._offset_s += seconds

    def set_offset(self, offset_s: float) -> None:
        """Put this project's clock so far ahead of the machine's."""
        self._offset_s = offset_s

    def rotate_keys(self, *, keep_old: bool = True) -> None:
        """Sign with a fresh key from now on; without `keep_old` the others are withdrawn."""
        self.signing.rotate(keep_old=keep_old)

    def configure(self, **changes: object) -> Settings:
        """Change some settings; ValueError says what is accepted, and then nothing is changed."""
        settings = Settings.model_validate({**self._settings.model_dump(), **changes})
        if settings.algorithm != self.signing.current.algorithm:
            self.signing.use(settings.algorithm)
        self._settings = settings
        return settings

    def sign_in(self, login_id: str) -> tuple[str, str]:
        """A session token and a refresh token for this person, no password asked; LookupError when there is none."""
        person = self.directory.person_by_login(login_id)
        if person is None:
            raise LookupError(f"nobody has the login id {login_id!r}")
        issued = self.sessions.start(person)
        return issued.session_jwt, issued.refresh_jwt

    def mint(
        self, claims: Mapping[str, Any], *, headers: Mapping[str, Any] | None = None, key: PrivateKey | None = None
    ) -> str:
        """A token over exactly these claims, signed with the current key or another; see `SigningKeys.sign`."""
        return self.signing.sign(claims, headers, key)

    def jwks(self) -> dict[str, Any]:
        """The published signing keys."""
        return self.signing.jwks()
