"""When to probe."""

__all__ = ["log_spaced"]


def log_spaced(total: int, points: int) -> list[int]:
    """Up to ``points`` steps from 0 to ``total``, both included, spaced evenly in log(step + 1).

    Most of what an init does happens in the first steps, so they are looked at closely.
    """
    ratio = (total + 1) ** (1 / max(points - 1, 1))
    return sorted({0, total} | {min(total, round(ratio**i) - 1) for i in range(points)})
