"""What the unmodified Node SDK makes of the emulator."""

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import Emulator, Seed

FOLDER = Path(__file__).parent / "node"


def _without(reason: str) -> None:
    """Skip with a reason, or fail where every program is said to be there."""
    if os.environ.get("GATEWAY_REQUIRE_PROGRAMS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


async def _seen(*arguments: str, **environment: str) -> Any:
    """What a program in the folder saw, by its last line."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        _without("node or npm is not installed")
    if not (FOLDER / "node_modules" / "@descope" / "node-sdk").is_dir():
        _without("node modules not installed; run make node-modules")
    program = await asyncio.create_subprocess_exec(
        *(str(node), *arguments),
        cwd=FOLDER,
        env={**environment, "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await program.communicate()
    assert program.returncode == 0, err.decode()
    # The SDK writes warnings of its own before the last line.
    return json.loads(out.decode().strip().splitlines()[-1])


@pytest.mark.parametrize(
    "settings",
    [{}, {"algorithm": "ES256", "issuer": "url"}, {"refresh_rotation": "grace"}],
    ids=["as-by-default", "es256-and-url-issuer", "rotating"],
)
async def test_the_node_sdk_signs_in_renews_and_exchanges(
    emulator: Emulator, base_url: str, settings: dict[str, str]
) -> None:
    emulator.configure(**settings)

    seen = await _seen(
        *("check.mjs", base_url, emulator.project_id, "cleo@example.com", "cleo-demo-password"),
        ACCESS_KEY="K2worker00000000000000000000demoworkerkey",
    )

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


async def test_the_node_sdk_signs_in_by_every_method(emulator: Emulator, seed: Seed, base_url: str) -> None:
    emulator.configure(send_wait_s=0.0)

    seen = await _seen(
        *("methods.mjs", base_url, emulator.project_id),
        MANAGEMENT_KEY=seed.management_key.get_secret_value(),
        TOTP_KEY="JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
    )

    assert seen == {
        "otp": {
            "email": ["a**@e******.com", "Ada", False, "email"],
            "sms": ["**********01", "Ada", False, "sms"],
            "voice": ["**********01", "Ada", False, "tel"],
            "whatsapp": ["**********01", "Ada", False, "whatsapp"],
            "signUp": ["Eve", True, "email"],
        },
        "usedCode": "E061102",
        "magicLink": {
            "email": ["Ada", False, "email"],
            "sms": ["Ada", False, "sms"],
            "whatsapp": ["Ada", False, "whatsapp"],
        },
        "usedLink": "E062504",
        "sameNumber": True,
        "enchantedLink": ["Ada", False, "email"],
        "totp": ["Bob", False, "pwd", "totp", "mfa"],
        "usedAppCode": "E061102",
        "enrolled": [True, True, True],
        "oauth": ["Ada", False, "oauth"],
        "usedProviderCode": "EMU401",
        "sso": ["zoe@acme.example.com", True, "fed"],
        "saml": ["zoe@acme.example.com", False, "fed"],
        "testUser": ["tim@example.com", False, "email"],
        "noTestUser": "E011003",
        "embedded": "gold",
    }
