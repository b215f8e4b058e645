"""The unit, looked over by systemd's own program, without starting it."""

import shutil
import subprocess
from pathlib import Path

from gateway.routefile import load
from tests.conftest import ROOT
from tests.real.browser import without

UNIT = ROOT / "deploy" / "systemd" / "gateway.service"
EXPOSURE = 15  # tenths; systemd calls everything below 20 fine, and an unhardened unit has 96


def analysed(verb: str, *options: str, unit: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze") or without("systemd-analyze is not installed")
    return subprocess.run([program, verb, *options, unit], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    there = shutil.which("true")
    assert there is not None
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/gateway/bin/gateway ", f"{there} "), "utf-8")

    done = analysed("verify", "--man=no", unit=unit)

    assert (done.returncode, [line for line in done.stderr.splitlines() if UNIT.name in line]) == (0, [])


def test_systemd_would_tell_a_misspelt_line(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("ProtectSystem=strict", "ProtectSystems=strict"), "utf-8")

    assert "ProtectSystems" in analysed("verify", "--man=no", unit=unit).stderr


def test_the_unit_leaves_little_exposed() -> None:
    done = analysed("security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", unit=UNIT)

    assert done.returncode == 0, done.stdout[-300:]
    assert "Overall exposure level" in done.stdout


def test_the_unit_waits_longer_than_an_orderly_end_takes() -> None:
    lines = dict(line.split("=", 1) for line in UNIT.read_text("utf-8").splitlines() if line[:1].isupper())
    ending = load(ROOT / "config" / "routes.yaml", {}).shutdown

    assert float(lines["TimeoutStopSec"].removesuffix("s")) > ending.delay_s + ending.grace_s
    assert lines["Type"] == "notify"
    assert lines["WatchdogSec"]
    assert lines["KillMode"] == "mixed"  # the parent of several workers says who ends when
    assert lines["ExecReload"] == "/bin/kill -HUP $MAINPID"
