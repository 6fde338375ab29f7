"""TensorFlow, without the lines that it writes before anybody can ask it not to."""

import os
import re
import sys
import tempfile

# Whatever the log level: that oneDNN is on, that there is no CUDA, and that such lines may come.
_KNOWN = re.compile(r"I\d{4} \d|WARNING: All log messages before absl::InitializeLog")


def import_tensorflow() -> None:
    """Imports TensorFlow for a command; of what it writes to stderr warnings and errors are left.

    `TF_CPP_MIN_LOG_LEVEL`, unless it is set, becomes 3: errors that end a program only. Where Keras
    is to run on another backend, nothing is imported.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules or os.environ.get("KERAS_BACKEND") not in (None, "tensorflow"):
        return
    sys.stderr.flush()
    # The lines come from C++, which knows the descriptor and no `sys.stderr`.
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            lines = written.read().decode(errors="replace").splitlines()
            for line in lines:
                if not _KNOWN.match(line):
                    print(line, file=sys.stderr)
