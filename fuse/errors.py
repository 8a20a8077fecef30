"""The one exception that means: what the user gave cannot be used. How others say that memory ran out."""


class InputError(ValueError):
    """Input or configuration that cannot be used: the commands print its message alone and leave with code 2.

    The message says what was given, what is allowed, and what to do. Every other exception is a fault of ours.
    """


WORDS = ("out of memory", "can't allocate memory", "std::bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED")


def ran_out(problem: BaseException) -> bool:
    """Whether memory ran out: as Python says it, as PyTorch says it of a GPU, and the plain `RuntimeError` of its CPUs
    (`DefaultCPUAllocator: can't allocate memory: you tried to allocate 4503599627370496 bytes`)."""
    if isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError":
        return True
    return isinstance(problem, RuntimeError) and any(word in str(problem) for word in WORDS)
