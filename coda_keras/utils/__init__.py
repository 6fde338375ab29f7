"""Checks, labels, files, texts, and the parser of commands, which the other modules share."""
