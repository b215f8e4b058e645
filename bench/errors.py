"""What ends a run."""


class BenchError(Exception):
    """The run cannot go on; the message names the peer or the thing, and the remedy where there is one."""
