"""What the operating system says a program took: processor time and memory, of the process and all that it started."""

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def family(pids: Iterable[int]) -> tuple[int, ...]:
    """The given processes and all their descendants that are alive."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = list(pids)
    for pid in found:
        found.extend(children.get(pid, ()))
    return tuple(found)


def cpu_s(pids: Iterable[int]) -> float:
    """User and system time that the processes have taken so far, all threads together."""
    ticks = 0
    for pid in pids:
        fields = _stat(pid)
        ticks += int(fields[11]) + int(fields[12]) if fields else 0
    return ticks / _TICKS_A_SECOND


def memory_bytes(pids: Iterable[int], name: str) -> int:
    """VmRSS (now) or VmHWM (the most since `forget_peak`), summed over the processes; shared pages count in each."""
    return sum(status_bytes(_read(_PROC / str(pid) / "status"), name) for pid in pids)


def status_bytes(text: str, name: str) -> int:
    """A size out of /proc/PID/status; 0 where it is missing, as for a process that has just ended."""
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def forget_peak(pids: Iterable[int]) -> None:
    """Let VmHWM begin again at what is in use now."""
    for pid in pids:
        (_PROC / str(pid) / "clear_refs").write_text("5", "ascii")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold blanks: state first, parent second."""
    return _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
