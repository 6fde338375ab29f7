"""Explanations: what pixels contribute to logits, and to channels inside a net."""
