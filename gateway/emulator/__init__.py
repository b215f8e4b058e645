"""A local Descope API over real HTTP, for development and tests; it imports nothing of the gateway.

`seed` is who and what there is at the start, `directory` what there is now, `sessions` and `keys` make tokens,
`traffic` counts requests and keeps faults, `inbox` is what would have been sent, `proofs` and `federation` are what is
waited for. The endpoints are `*_api`, `management_*`, `control` and `*_pages`, each a table of its own by method and
path; `app` puts them on the network. A further sign-in method is a further table: it begins with `contacting` where
something is sent, and ends with `signing_in`.
"""

from gateway.emulator.app import DEVELOPMENT_NOTICE, NotLoopbackError, build_app, serve
from gateway.emulator.emulator import Emulator
from gateway.emulator.inbox import Message
from gateway.emulator.keys import PrivateKey, fresh_key
from gateway.emulator.seed import Seed, SeedError, load_seed
from gateway.emulator.settings import Settings
from gateway.emulator.traffic import Fault, Operation, RequestRecord

__all__ = [
    "DEVELOPMENT_NOTICE",
    "Emulator",
    "Fault",
    "Message",
    "NotLoopbackError",
    "Operation",
    "PrivateKey",
    "RequestRecord",
    "Seed",
    "SeedError",
    "Settings",
    "build_app",
    "fresh_key",
    "load_seed",
    "serve",
]
