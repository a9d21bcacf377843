"""Numbers as text."""


def number(value: float) -> str:
    """Formats a number with at most four digits and three decimals: 0.908, 12.2, 1520, 2.1e+06."""
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}"
    size = len(str(int(abs(value))))
    return f"{value:.{max(0, min(3, 4 - size))}f}"


def large(value: float) -> str:
    """Formats a number with an SI prefix: 71.5 M, 2.1 G."""
    for factor, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:.3g}{letter}"
    return f"{value:.3g}"


def count(amount: int, noun: str) -> str:
    """Formats a count with its noun: 1 point, 2 points."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"
