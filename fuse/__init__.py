"""Image fusion: every method trained, run and judged the same way."""
