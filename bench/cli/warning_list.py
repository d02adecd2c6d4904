"""What is to be said of many runs, and said once where it is the same of several."""

import os
from pathlib import Path

from loopmark.bench.report.compare_words import named


class Warnings:
    """Gathers warnings; those that are alike become one, with how many they are and of whom the first are."""

    def __init__(self) -> None:
        self._whose: dict[str, list[str]] = {}

    def add(self, text: str, whose: object = "") -> None:
        """Warn of something; ``whose`` is a run's folder or name, or nobody's."""
        self._whose.setdefault(text, []).append(str(whose))

    def add_error(self, text: str, folder: Path, error: Exception) -> None:
        """Warn of an error in ``folder``, whose path is taken out of the words, so that others can be like it."""
        said = str(error).replace(f"{folder}{os.sep}", "")
        if said.startswith(f"{folder} "):
            said = f"it{said.removeprefix(str(folder))}"
        self.add(f"{text}: {said}", folder)

    def include(self, others: "Warnings") -> None:
        """Warn of all that ``others`` gathered."""
        for text, whose in others._whose.items():
            self._whose.setdefault(text, []).extend(whose)

    def lines(self) -> list[str]:
        """A line each, in the order in which they first came."""
        return [self._line(text, whose) for text, whose in self._whose.items()]

    def _line(self, text: str, whose: list[str]) -> str:
        if not any(whose):
            return text
        return f"{whose[0]}: {text}" if len(whose) == 1 else f"{len(whose)} runs: {text} ({named(whose)})"
