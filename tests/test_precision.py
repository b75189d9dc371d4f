"""What a precision asks of a machine, told without one."""

import re

import pytest

from handwriting.errors import UserError
from handwriting.precision import computes_in_bfloat16, flags, warning_of

OLD, AVX512, HAS_IT = {"sse", "avx2"}, {"avx2", "avx512f"}, {"avx2", "avx512f", "avx512_bf16"}


@pytest.fixture(autouse=True)
def _x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


@pytest.mark.parametrize("found", [None, OLD, AVX512, HAS_IT])
def test_float32_needs_nothing(found: set[str] | None) -> None:
    assert warning_of("float32", found, gpu=False) == ""


def test_bfloat16_is_for_processors_that_have_it_and_for_gpus() -> None:
    for found, gpu in ((HAS_IT, False), ({"amx_bf16"}, False), (OLD, True), (None, True)):
        assert warning_of("mixed_bfloat16", found, gpu) == ""
    assert "slower than float32: this processor has no avx512_bf16" in warning_of(
        "mixed_bfloat16", AVX512, False
    )
    assert "is not known" in warning_of("mixed_bfloat16", None, gpu=False)
    with pytest.raises(UserError, match=r"needs a processor with AVX-512, .* none\. Take float32$"):
        warning_of("mixed_bfloat16", OLD, gpu=False)


def test_on_arm_the_kernel_calls_it_by_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert warning_of("mixed_bfloat16", {"asimd", "bf16"}, gpu=False) == ""
    assert "slower" in warning_of("mixed_bfloat16", {"asimd"}, gpu=False)


def test_float16_needs_a_gpu() -> None:
    assert warning_of("mixed_float16", OLD, gpu=True) == ""
    with pytest.raises(UserError, match=r"needs a GPU, .* none here\. Take mixed_bfloat16 or float32$"):
        warning_of("mixed_float16", HAS_IT, gpu=False)


def test_another_word_is_refused_with_those_that_there_are() -> None:
    words = "precision must be float32, mixed_bfloat16 or mixed_float16. Received: bf16"
    with pytest.raises(UserError, match=f"^{re.escape(words)}$"):
        warning_of("bf16", HAS_IT, gpu=True)


def test_the_flags_are_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(text: str) -> set[str] | None:
        flags.cache_clear()
        monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: text)
        return flags()

    assert told("processor\t: 0\nflags\t\t: fpu sse avx512_bf16\n\nprocessor\t: 1\nflags\t: fpu\n") == {
        "fpu", "sse", "avx512_bf16",
    }  # fmt: skip
    assert told("Features\t: asimd bf16\n") == {"asimd", "bf16"}
    assert told("nothing\n") is None
    assert not computes_in_bfloat16(None)
    flags.cache_clear()
