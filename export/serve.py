"""Serves a folder of servables over TensorFlow Serving's gRPC API.

    coda-keras serve --models servables --port 8500

Starts `tensorflow_model_server` where it is installed, and a server of its own otherwise. New
versions are picked up while it runs; SIGINT (Ctrl-C), SIGTERM or SIGHUP ends it,
a second one at once.
"""

import os
import shutil
from argparse import SUPPRESS, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from coda_keras_export.api import tls
from coda_keras_export.servable import folder, version_policies

from coda_keras.utils import extras, processors
from coda_keras.utils.command_line import Parser, command, integer, seconds

# What only the embedded server has: the smallest and the largest value, what it takes unless told
# otherwise, help.
_EMBEDDED = {
    "threads": (1, 1000, 8, "requests at once (8)"),
    "max_concurrent_requests": (
        1,
        10**6,
        128,
        "requests that run or wait; one more is RESOURCE_EXHAUSTED (128)",
    ),
    "max_batch_size": (
        1,
        2**31 - 1,
        None,
        "images a request may hold; by default as many as have 2^20 pixels",
    ),
    "max_message_mib": (1, 2047, 64, "size of a request in MiB (64)"),
    "max_connections": (
        1,
        10**6,
        None,
        "connections at once; by default 1000, or fewer where the process may open few files",
    ),
    "max_connection_calls": (1, 10**6, 4096, "calls at once on one connection (4096)"),
    "load_timeout": (1, 86400, 120, "seconds a version may take to load (120)"),
    "metrics_port": (
        0,
        65535,
        None,
        "TCP port for Prometheus, 0 for a free one; without it there are no metrics",
    ),
}
_REST = (
    "REST is the stock server's: its container by the compose.yaml that `coda-keras package` "
    "writes, or `tensorflow_model_server --rest_api_port=8501`."
)


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    flags = _parse(arguments, prog)
    extras.require("serve")
    if not Path(flags.models).is_dir() or not folder.models(flags.models):
        raise ValueError(
            f"There is no servable in {flags.models}. Expected <model>/<integer version>/ in "
            "it, as `coda-keras package` writes."
        )
    binary = None if flags.embedded else shutil.which("tensorflow_model_server")
    given = [name for name in _EMBEDDED if getattr(flags, name) is not None]
    given += ["compressed_requests"] if flags.compressed_requests else []
    if binary and given:
        names = ", ".join(map(_option, given))
        raise ValueError(
            f"{binary} would serve, but only the embedded server has {names}. Give --embedded too."
        )
    if binary:
        from coda_keras_export.server import stock

        stock.serve(binary, flags)
    else:
        # gRPC reads this when it is imported. It would write a line for every request it refuses.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from coda_keras_export.server import embedded, limits

        for name, (*_, default, _) in _EMBEDDED.items():
            if getattr(flags, name) is None:
                setattr(flags, name, default)
        flags.max_connections = limits.connections(flags.max_connections)
        embedded.serve(flags)


def _parse(arguments: Sequence[str] | None, prog: str | None) -> Namespace:
    """Reads the flags; adds `policies`, and `tls`: None, or arguments for `api.tls`."""
    parser = Parser(prog=prog, description=f"{__doc__}\n{_REST}")
    parser.add_argument("--models", required=True, help="folder of servables")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port",
        type=integer(0, 65535),
        default=8500,
        help="TCP port (%(default)s); 0 takes a free one",
    )
    # What the stock server calls it.
    parser.add_argument("--rest_api_port", "--rest-api-port", type=_no_rest, help=SUPPRESS)
    parser.add_argument(
        "--poll",
        type=seconds,
        default=2,
        help="seconds between looks for new versions (%(default)s)",
    )
    parser.add_argument(
        "--version-policy",
        action="append",
        default=[],
        metavar="POLICY",
        help="[MODEL=]latest:N, all or specific:VERSION,... (latest:2); once for each model",
    )
    parser.add_argument(
        "--load-threads",
        type=integer(1, 1000),
        default=processors.cores(),
        help="versions that load at once (%(default)s)",
    )
    parser.add_argument("--tls-key", help="PEM file of the server's key; encrypts")
    parser.add_argument("--tls-certificate", help="PEM file of the key's certificate chain")
    parser.add_argument(
        "--tls-client-ca", help="PEM file of certificates; clients must show one signed by them"
    )
    parser.add_argument(
        "--embedded",
        action="store_true",
        help="use the embedded server, which alone has the flags below, in any case",
    )
    embedded = parser.add_argument_group("of the embedded server")
    for name, (smallest, largest, _, text) in _EMBEDDED.items():
        embedded.add_argument(_option(name), type=integer(smallest, largest), help=text)
    embedded.add_argument(
        "--compressed-requests",
        action="store_true",
        help="accept compressed requests, which may take much memory; refused otherwise",
    )
    flags = parser.parse_args(arguments)
    flags.policies = version_policies.parse(flags.version_policy)
    files = flags.tls_key, flags.tls_certificate, flags.tls_client_ca
    tls.check_files(*files)
    if flags.tls_client_ca and not flags.tls_key:
        raise ValueError("--tls-client-ca needs --tls-key and --tls-certificate.")
    flags.tls = files if flags.tls_key else None
    return flags


def _no_rest(port: str) -> NoReturn:
    raise ArgumentTypeError(f"this serves gRPC. {_REST}")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


if __name__ == "__main__":
    main()
