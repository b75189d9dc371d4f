"""What a precision asks of the machine, read from the kernel's files: TensorFlow takes seconds to import."""

import platform
from collections.abc import Collection
from functools import cache
from pathlib import Path

from handwriting.errors import UserError

FLOAT32, BFLOAT16, FLOAT16 = PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
_FASTER = ("avx512_bf16", "amx_bf16", "bf16")  # of x86, and of ARM
NO_GPU = f"precision={FLOAT16} needs a GPU, and there is none here. Take {BFLOAT16} or {FLOAT32}"


def check_precision(precision: str) -> str:
    """Return a warning about a precision on this machine, or nothing.

    Raises:
        UserError: there is no such precision, or the machine cannot do it.
    """
    return warning_of(precision, flags(), has_gpu())


def warning_of(precision: str, found: Collection[str] | None, gpu: bool) -> str:
    """Return a warning about a precision on a machine, or nothing; raises as `check_precision`.

    Args:
        precision: one of PRECISIONS.
        found: the processor's flags; None where they are not known.
        gpu: whether there is one.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision must be {FLOAT32}, {BFLOAT16} or {FLOAT16}. Received: {precision}")
    if precision == FLOAT16 and not gpu:
        raise UserError(NO_GPU)
    if precision == FLOAT32 or gpu or computes_in_bfloat16(found):
        return ""
    if found is None:
        return f"precision={BFLOAT16}: whether this processor computes in bfloat16 is not known"
    if platform.machine() in ("x86_64", "AMD64") and "avx512f" not in found:
        raise UserError(
            f"precision={BFLOAT16} needs a processor with AVX-512, and this one has none. Take {FLOAT32}"
        )
    return f"precision={BFLOAT16} will be slower than {FLOAT32}: this processor has no {_FASTER[0]}"


def computes_in_bfloat16(found: Collection[str] | None) -> bool:
    """Tell whether a processor with such flags multiplies bfloat16 numbers by itself."""
    return any(flag in _FASTER for flag in found or ())


@cache
def flags() -> set[str] | None:
    """Return the processor's flags; None where the kernel does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    told = [line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))]
    return set(told[0].split()) if told else None


def has_gpu() -> bool:
    """Tell whether there is an NVIDIA GPU, as TensorFlow's packages use."""
    return any(Path("/dev").glob("nvidia[0-9]*"))
