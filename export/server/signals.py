"""The signals that end a server."""

import signal


def end_signals() -> list[signal.Signals]:
    """Those that end a server; not SIGHUP where it is ignored, as under `nohup`."""
    ends = [signal.SIGINT, signal.SIGTERM]
    return ends if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [*ends, signal.SIGHUP]
