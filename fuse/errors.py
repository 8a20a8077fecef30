"""The one exception that means: what the user gave cannot be used."""


class InputError(ValueError):
    """Input or configuration that cannot be used: the commands print its message alone and leave with code 2.

    The message says what was given, what is allowed, and what to do. Every other exception is a fault of ours.
    """
