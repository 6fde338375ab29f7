"""What the commands share: errors as one line and exit code 2, and sentences out of error texts."""

import argparse
import re
import sys
from pathlib import Path


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


def run(main):
    """Runs a command; what it raises becomes one line on stderr and exit code 2."""
    try:
        main()
    except (ValueError, OSError, ImportError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"{Path(sys.argv[0]).name}: error: {message}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def sentence(text):
    """Reduces TensorFlow's error text to what it says: no node names, no assertion frame."""
    line = text.removeprefix("Graph execution error:").strip().split("\n")[0]
    assertion = re.fullmatch(r"assertion failed: \[(.*)\]", line)
    return assertion[1] if assertion else line
