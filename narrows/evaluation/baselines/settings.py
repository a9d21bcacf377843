"""The settings that a baseline codec accepts."""

from dataclasses import dataclass

from narrows.errors import InputError


@dataclass(frozen=True)
class SettingRange:
    """The accepted settings: numbers from low to high, or only the listed numbers.

    Args:
        unit: Unit or name of the setting, such as "kbit/s" or "quality".
        low: Smallest value.
        high: Largest value.
        example: Value named in messages.
        integer: Whether only integers are accepted.
        choices: If not empty, the only accepted values.
    """

    unit: str
    low: float
    high: float
    example: float
    integer: bool = True
    choices: tuple[float, ...] = ()

    def __str__(self) -> str:
        """For example "6 to 510 (kbit/s)"."""
        numbers = ", ".join(f"{choice:g}" for choice in self.choices) or f"{self.low:g} to {self.high:g}"
        return f"{'integers ' if self.integer else ''}{numbers} ({self.unit})"

    def check(self, family: str, setting: float | None) -> None:
        """Raises InputError unless the codec `family` accepts `setting`."""
        example = f"{family}@{self.example:g}"
        if setting is None:
            raise InputError(f"expected a setting for {family}, {self}, got none; type for example {example}")
        accepted = setting in self.choices if self.choices else self.low <= setting <= self.high
        if not accepted or (self.integer and not float(setting).is_integer()):
            raise InputError(f"expected {self} for {family}, got {family}@{setting:g}; type for example {example}")
