"""Image fusion: every method trained, run and judged the same way."""

__version__ = "0.1.0"
