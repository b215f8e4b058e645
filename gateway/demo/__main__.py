"""The legacy service alone, for containers and units that show the gateway in front of it.

Usage: `python -m gateway.demo [PORT | PATH]`: a port on loopback (9000 where nothing is said), or the path of a Unix
socket. SIGTERM and Ctrl-C end it.
"""

import signal
import sys

from gateway.demo.legacy import Legacy


def main(arguments: list[str]) -> int:
    """Serve until told to end."""
    place = arguments[0] if arguments else "9000"
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        legacy = Legacy(int(place) if place.isdigit() else place, sign_out="/.auth/logout")
    except OSError as err:
        sys.stderr.write(f"{place} cannot be listened on: {err.strerror or err}; name another port, or a path\n")
        return 1
    print(f"The legacy service listens on {legacy.start()}", flush=True)  # noqa: T201  # told to whoever started it
    signal.sigwait(signals)
    legacy.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
