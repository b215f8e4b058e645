"""Whether files are still the ones that they were."""

from collections.abc import Iterable
from pathlib import Path

Mark = tuple[tuple[int, ...], ...]


def mark(files: Iterable[str | Path]) -> Mark:
    """Differs once any of them is another or has another content. Links are followed, for a cluster swaps links."""
    return tuple(map(_mark, files))


def _mark(file: str | Path) -> tuple[int, ...]:
    try:
        found = Path(file).stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
