"""Work in the background, in a real loop."""

import asyncio
import json

import pytest

from gateway.tasks import Tasks
from gateway.telemetry import set_up_logging

SECRET = "a-secret-that-somebody-sent"


async def fails() -> None:
    raise ValueError(SECRET)


async def test_work_that_nobody_waits_for_does_not_fail_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json")
    tasks = Tasks()
    tasks.start(fails(), "watch the signing keys")
    await asyncio.sleep(0)
    await tasks.close()

    said = capsys.readouterr().err
    (line,) = [json.loads(line) for line in said.splitlines()]
    assert (line["event"], line["level"]) == ("work in the background failed", "error")
    assert (line["work"], line["cause"]) == ("watch the signing keys", "ValueError")
    assert line["at"].startswith("fails:")
    assert SECRET not in said


@pytest.mark.parametrize("is_waited_for", [True, False])
async def test_work_that_ends_or_is_waited_for_says_nothing(
    capsys: pytest.CaptureFixture[str], is_waited_for: bool
) -> None:
    set_up_logging("json")
    tasks = Tasks()
    if is_waited_for:
        with pytest.raises(ValueError, match=SECRET):
            await tasks.spawn(fails(), "ask")
    else:
        tasks.start(asyncio.sleep(3600), "watch")
    await tasks.close()

    assert capsys.readouterr().err == ""
