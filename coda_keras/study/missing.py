"""What a figure needs and does not find."""


class Missing(Exception):
    """What a figure needs is not there; the message says what."""
