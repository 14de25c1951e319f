import pytest

from dsdenseunet.preflight.memory import sentence

GIB = 2**30


@pytest.mark.parametrize(
    ("limit", "card", "environment", "expected"),
    [
        (6 * GIB, 8 * GIB, {}, "memory: JAX may use 6.00 GiB of 8.00 GiB (JAX's default of 0.75)"),
        (
            7.2 * GIB,
            8 * GIB,
            {"XLA_CLIENT_MEM_FRACTION": "0.9"},
            "memory: JAX may use 7.20 GiB of 8.00 GiB (XLA_CLIENT_MEM_FRACTION=0.9)",
        ),
        (
            6 * GIB,
            8 * GIB,
            {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9"},
            "memory: JAX may use 6.00 GiB of 8.00 GiB (XLA_PYTHON_CLIENT_MEM_FRACTION=0.9): that is a "
            "share of 0.75, so the setting did not act as documented; plan with --budget_gib=6.0",
        ),
        (6 * GIB, None, {}, "memory: JAX may use 6.00 GiB (JAX's default of 0.75)"),
        (
            None,
            8 * GIB,
            {"XLA_PYTHON_CLIENT_ALLOCATOR": "platform"},
            "memory: XLA_PYTHON_CLIENT_ALLOCATOR=platform sets no limit, so that JAX's default of 0.75 has "
            "no effect",
        ),
    ],
)
def test_the_limit_is_told_beside_what_was_asked_for(limit, card, environment, expected):
    assert sentence(limit, card, environment) == expected
