"""Fusion networks, one paper a file."""
