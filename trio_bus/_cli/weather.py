"""The readings that the demo replays: Seattle 2012 to 2015, from NOAA by way of vega_datasets."""

from __future__ import annotations

import csv
from decimal import Decimal
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Self

import attrs

STORM_WIND = Decimal(8)
"""Metres per second, the mean of a day."""
STORM_RAIN = Decimal(25)
"""Millimetres in a day."""

_NAME = "seattle-weather.csv"


@attrs.frozen
class Reading:
    """One day."""

    date: str
    """Like ``2012/01/31``."""
    precipitation: Decimal
    temp_max: Decimal
    temp_min: Decimal
    wind: Decimal
    weather: str

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read one line of the file; raise `ValueError` if it is none."""
        date, precipitation, temp_max, temp_min, wind, weather = line.split(",")
        return cls(
            date,
            precipitation=_number(precipitation),
            temp_max=_number(temp_max),
            temp_min=_number(temp_min),
            wind=_number(wind),
            weather=weather,
        )

    @property
    def month(self) -> str:
        """Like ``2012/01``."""
        return self.date[:7]

    @property
    def mean(self) -> Decimal:
        """The mean temperature of the day, in degrees Celsius."""
        return (self.temp_max + self.temp_min) / 2

    @property
    def storm(self) -> str:
        """Why this is a day to warn of; empty if it is none."""
        if self.weather == "snow":
            return "snow"
        if self.wind >= STORM_WIND:
            return f"wind of {self.wind} m/s"
        if self.precipitation >= STORM_RAIN:
            return f"{self.precipitation} mm of rain"
        return ""


@attrs.frozen
class Expected:
    """What the demo must come to, computed from the file and without a bus."""

    lines: tuple[str, ...]
    dates: frozenset[str]
    storms: frozenset[str]
    """The dates of the storm days."""
    means: dict[str, Fraction]
    """By month."""

    @classmethod
    def of(cls, text: str) -> Self:
        """Compute it in a way of its own: columns, not readings."""
        rows = list(csv.DictReader(text.splitlines()))
        months: dict[str, list[Fraction]] = {}
        for row in rows:
            day = (Fraction(row["temp_max"]) + Fraction(row["temp_min"])) / 2
            months.setdefault(row["date"].rpartition("/")[0], []).append(day)
        return cls(
            lines=tuple(text.splitlines()[1:]),
            dates=frozenset(row["date"] for row in rows),
            storms=frozenset(
                row["date"]
                for row in rows
                if row["weather"] == "snow"
                or float(row["wind"]) >= float(STORM_WIND)
                or float(row["precipitation"]) >= float(STORM_RAIN)
            ),
            means={month: sum(days, Fraction()) / len(days) for month, days in months.items()},
        )


def load() -> str:
    """Return the file: from the package, or from the checkout that it is installed from."""
    packaged = resources.files("trio_bus._cli").joinpath(_NAME)
    if packaged.is_file():
        return packaged.read_text(encoding="ascii")
    checkout = Path(__file__).parents[2]
    return (checkout / "docs" / "examples" / _NAME).read_text(encoding="ascii")


def _number(text: str) -> Decimal:
    number = Decimal(text) if text.replace(".", "", 1).removeprefix("-").isdigit() else None
    if number is None:
        raise ValueError(f"{text!a} is not a number")
    return number
