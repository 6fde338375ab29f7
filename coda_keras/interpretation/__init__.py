"""The parts of recipes/interpret.py."""
