"""Weights of other projects: read from their files without their packages, and written back."""
