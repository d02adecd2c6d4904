"""How much work a step has to do, whoever does it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PhaseWork:
    """One phase of one step: what its operations come to, however they are fused."""

    phase: str
    flops: dict[str, float]
    """Floating-point operations of its matrix products and convolutions, by the type that they multiply in."""
    least_bytes: float
    """That it has to read or write at least once: what it did not make itself, and what outlives it."""
    attention: tuple[str, ...] = ()
    """The kernels that torch chose for scaled_dot_product_attention: ``flash``, ``efficient``, ``cudnn``, ``math``…"""
