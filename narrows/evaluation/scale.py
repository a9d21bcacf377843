"""What the setting of a codec means and may be."""

from dataclasses import dataclass

from narrows.errors import InputError


@dataclass(frozen=True)
class Scale:
    """Numbers from low to high, whole ones where `whole`; just those of `only` where there are some.

    unit: what they count, such as "kbit/s" or "quality". usual: one to name as an example.
    """

    unit: str
    low: float
    high: float
    usual: float
    whole: bool = True
    only: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Such as "6 to 510 (kbit/s)"."""
        numbers = ", ".join(f"{each:g}" for each in self.only) or f"{self.low:g} to {self.high:g}"
        return f"{'whole numbers ' if self.whole else ''}{numbers} ({self.unit})"

    def check(self, family: str, setting: float | None) -> None:
        """Raises InputError unless `setting` is one."""
        hint = f"{family}@{self.usual:g}"
        if setting is None:
            raise InputError(f"{family} given without a setting; type {hint}, it takes {self}")
        taken = setting in self.only if self.only else self.low <= setting <= self.high
        if not taken or (self.whole and not float(setting).is_integer()):
            raise InputError(f"{family}@{setting:g} given; {family} takes {self}, such as {hint}")
