"""Out of memory: what helps."""

from w2s_jax.runtime.errors import UserError

ADVICE = (
    "out of memory: raise the learner's microbatches (same result), set its remat to 'dots' or 'full' (same result, "
    "more time), raise mesh.fsdp to shard parameters over more devices, set its dtype to 'bfloat16', or lower its "
    "max_tokens or batch_size; `w2s plan` says what fits"
)
SIGNS = ("resource_exhausted", "out of memory", "out_of_memory")  # XLA, and CUDA under it


class OutOfMemoryError(UserError):
    """No device had the memory for what was asked of it."""


def advice_for(error: BaseException) -> str | None:
    """One sentence that names the settings that help, if the error, or its cause, is that memory ran out; else None.

    >>> advice_for(ValueError("a wrong shape")) is None
    True
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or any(sign in str(seen).lower() for sign in SIGNS):
            return ADVICE
        seen = seen.__cause__ or seen.__context__
    return None
