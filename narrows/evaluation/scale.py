"""What the setting of a codec means and may be."""

from dataclasses import dataclass

from narrows.errors import InputError


@dataclass(frozen=True)
class Scale:
    """Numbers from low to high, whole ones where `whole`; or just those of `only`.

    unit: of what, such as "kbit/s", or "quality". usual: one to name as an example.
    """

    unit: str
    low: float
    high: float
    usual: float
    whole: bool = True
    only: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Such as "6 to 510 kbit/s"."""
        if self.only:
            return f"{', '.join(f'{each:g}' for each in self.only)} {self.unit}"
        return f"{'whole numbers ' if self.whole else ''}{self.low:g} to {self.high:g} {self.unit}"

    def check(self, family: str, setting: float | None) -> None:
        """Raises InputError unless `setting` is one."""
        hint = f"{family}@{self.usual:g}"
        if setting is None:
            raise InputError(f"{family} given without a setting; type {hint}, of {self}")
        taken = setting in self.only if self.only else self.low <= setting <= self.high
        if not taken or (self.whole and not self.only and not setting.is_integer()):
            raise InputError(f"{family}@{setting:g} given; {family} takes {self}, such as {hint}")
