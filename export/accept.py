"""Checks that a server answers, and refuses, as a servable of coda-keras package should.

    coda-keras accept localhost:8500 coda

Against whatever serves it: the stock server in its container, with request batching or without, or
the embedded one. Exit code 1 if a check fails, 2 if none can be made.
"""

import sys
from collections.abc import Sequence
from functools import partial

from coda_keras_export.api.acceptance import Acceptance
from coda_keras_export.api.connection import add_flags, connect

from coda_keras.utils.command_line import Parser, command


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument("server", help="host:port of the gRPC API")
    parser.add_argument("model", help="name of the served model")
    parser.add_argument("--metrics", metavar="URL", help="where the server has its metrics")
    add_flags(parser)
    flags = parser.parse_args(arguments)
    failed = 0
    checks = Acceptance(connect(flags), partial(connect, flags), flags.metrics)
    for what, problem in checks.run():
        skipped = what.startswith("metrics") and not flags.metrics
        failed += problem is not None
        state = "left out, no --metrics" if skipped else problem or "ok"
        print(f"{what}: {state}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(prog="accept.sh")
