"""The error of figures that cannot be drawn."""


class Missing(Exception):
    """What a figure needs is not there; the message says what."""
