"""Serves a folder of servables, every model and version in it, over TensorFlow Serving's gRPC API.

    python export/serve.py --models servables --port 8500

Starts `tensorflow_model_server` where it is installed, and a server of its own otherwise. New
versions are picked up while it runs; SIGINT (Ctrl-C), SIGTERM or SIGHUP ends it,
a second one at once.
"""

import contextlib
import os
import queue
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from export import cli, folder
from export.quiet import import_tensorflow

GRACE_SECONDS = 5


def main():
    parser = cli.Parser(prog="serve.py", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--models", required=True, help="folder of servables")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port",
        type=cli.integer(0, 65535),
        default=8500,
        help="TCP port (%(default)s); 0 takes a free one",
    )
    parser.add_argument(
        "--threads",
        type=cli.integer(1, 1000),
        default=8,
        help="requests at once (%(default)s)",
    )
    parser.add_argument(
        "--poll",
        type=cli.seconds,
        default=2,
        help="seconds between looks for new versions (%(default)s)",
    )
    parser.add_argument(
        "--max-batch-size",
        type=cli.integer(1, 2**31 - 1),
        help="images a request may hold; by default as many as have 2^20 pixels (embedded server)",
    )
    parser.add_argument(
        "--max-message-mib",
        type=cli.integer(1, 2047),
        default=64,
        help="size of a request in MiB (%(default)s; embedded server)",
    )
    arguments = parser.parse_args()
    if not Path(arguments.models).is_dir() or not folder.models(arguments.models):
        raise ValueError(
            f"There is no servable in {arguments.models}. Expected <model>/<integer version>/ in "
            "it, as export/package.py writes."
        )
    binary = shutil.which("tensorflow_model_server")
    if binary:
        from export import stock

        stock.serve(binary, arguments)
    else:
        serve_embedded(arguments)


def serve_embedded(arguments):
    """Serves with the server of `export.embedded` until a signal comes.

    The main thread does nothing but wait, so that signals are heard at any time, also while
    models load.
    """
    # Events may deadlock when a signal handler sets them; this queue may be put to from one.
    events, servers = queue.SimpleQueue(), []
    for number in cli.end_signals():
        signal.signal(number, lambda number, _: events.put(number))
    threading.Thread(target=_work, args=(arguments, events, servers), daemon=True).start()
    event = events.get()
    if isinstance(event, Exception):
        raise event
    for server in servers:
        _stop(server, events)
    # The interpreter would wait for requests that outlast their grace.
    os._exit(0)


def _work(arguments, events, servers):
    """Serves; what keeps it from beginning to goes to `events`."""
    try:
        catalogue, server, address = _begin(arguments)
        servers.append(server)
        server.start()
        print(f"serving {arguments.models} on {address}", flush=True)
    except Exception as error:
        events.put(error)
        return
    said = None
    while True:
        time.sleep(arguments.poll)
        try:
            catalogue.refresh()
            said = None
        except Exception as error:  # Whatever it is, what is loaded is served.
            if said != (said := f"cannot look for versions: {error}"):
                print(said, file=sys.stderr, flush=True)


def _begin(arguments):
    import_tensorflow()

    from export import embedded
    from export.catalogue import Catalogue

    catalogue = Catalogue(arguments.models, arguments.max_batch_size)
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    server, port = embedded.bind(
        catalogue, f"{host}:{arguments.port}", arguments.threads, arguments.max_message_mib * 2**20
    )
    catalogue.refresh()
    if not len(catalogue):
        raise ValueError(f"No servable in {arguments.models} could be loaded; see above.")
    return catalogue, server, f"{host}:{port}"


def _stop(server, events):
    """Lets requests end within their grace, unless another signal comes."""
    stopped = server.stop(GRACE_SECONDS)
    deadline = time.monotonic() + GRACE_SECONDS + 1
    while not stopped.is_set() and time.monotonic() < deadline:
        with contextlib.suppress(queue.Empty):
            os._exit(128 + events.get(timeout=0.1))


if __name__ == "__main__":
    cli.run(main)
