"""What the unmodified Node SDK makes of the emulator."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from gateway.emulator import Emulator

FOLDER = Path(__file__).parent / "node"


def _without(reason: str) -> None:
    """Skip with a reason, or fail where every program is said to be there."""
    if os.environ.get("GATEWAY_REQUIRE_PROGRAMS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.parametrize(
    "settings",
    [{}, {"algorithm": "ES256", "issuer": "url"}, {"refresh_rotation": "grace"}],
    ids=["as-by-default", "es256-and-url-issuer", "rotating"],
)
async def test_the_node_sdk_signs_in_renews_and_exchanges(
    emulator: Emulator, base_url: str, settings: dict[str, str]
) -> None:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        _without("node or npm is not installed")
    if not (FOLDER / "node_modules" / "@descope" / "node-sdk").is_dir():
        _without("node modules not installed; run make node-modules")
    emulator.configure(**settings)

    program = await asyncio.create_subprocess_exec(
        *(str(node), "check.mjs", base_url, emulator.project_id, "cleo@example.com", "cleo-demo-password"),
        cwd=FOLDER,
        env={"ACCESS_KEY": "K2worker00000000000000000000demoworkerkey", "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await program.communicate()

    assert program.returncode == 0, err.decode()
    # The SDK writes warnings of its own before the last line.
    seen = json.loads(out.decode().strip().splitlines()[-1])
    cleo = emulator.directory.person_by_login("cleo@example.com")
    assert cleo is not None
    assert seen == {
        "issuer": emulator.project_id,
        "subject": cleo.id,
        "renewed": cleo.id,
        "keySubject": "K2worker00000000000000000000",
        "keyRoles": ["worker"],
        "me": ["cleo@example.com"],
        "tenant": "acme",
        "mayReadInAcme": True,
        "wrong": {"ok": False, "code": 401, "errorCode": "EMU401"},
        "forged": "refused",
    }
    assert emulator.count("reuse_detected") == 0
