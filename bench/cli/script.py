"""A training script, read without running it."""

import ast
import importlib.util
import re
from pathlib import Path

OPTIMIZER = r"^(\w+) = (.*(?:\.parameters\(|\w*(?i:optim)\w*\(|\boptim\.\w+\(|\b(?:SGD|Adam\w*|RMSprop)\().*)"
SCHEDULE = r"^(\w+) = (.*(?:\blr_scheduler\.|\w+LR\(|_schedule\w*\().*)"
CRITERION = r"^(\w+) = .*(?:Loss|criterion)\("
LOSS = r"= ((?:F|(?:torch\.)?nn\.functional)\.\w*(?:loss|entropy)\w*)\("
LOADER = r"^(\w*(?i:loader)\w*|\w+(?= = .*\bDataLoader\())(?:, \w+)* = "
FETCH = r"^ *\w+, \w+ = (\w*batch\w*\(.*\))$"
CLIP = r"\b(clip_grad_(?:norm|value)_)\([^,]+, *(?:\w+=)?([\w.]+(?:(?<=\de)-\d+)?)"


class Script:
    """The text of a script. Raises SyntaxError or ValueError for a file that is not Python."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        self.tree, self.source = ast.parse(content), importlib.util.decode_source(content)

    def pieces(self) -> str:
        """The lines that make a piece of the training, with their numbers."""
        lines = [(number, line.strip()) for number, line in enumerate(self.source.splitlines(), 1)]
        patterns = "|".join((OPTIMIZER, SCHEDULE, CRITERION, LOSS, LOADER, FETCH, CLIP, "^model = "))
        return "".join(f"{line}  # line {n}\n" for n, line in lines if re.search(patterns, line.removeprefix("self.")))

    def missing(self) -> list[str]:
        """The pieces that have no line."""
        kinds = {"an optimizer": OPTIMIZER, "a loss": f"{CRITERION}|{LOSS}", "a loader": f"{LOADER}|{FETCH}"}
        lines = self.pieces().replace("self.", "")
        return [kind for kind, pattern in kinds.items() if not re.search(pattern, lines, re.MULTILINE)]

    def clip(self) -> str:
        """The call that clips the gradients of ``task.model``; empty if the script has none."""
        for name, limit in re.findall(CLIP, self.source)[:1]:
            limit = limit if limit[:1].isdigit() else self._number(limit.rpartition(".")[2]) or "1.0"
            return f"{name}(task.model.parameters(), {limit})" if float(limit) else ""
        return ""

    def _number(self, name: str) -> str:
        """The first number that the script gives a name, as its value or as the default of its option."""
        given = r"\b(?:[^\n=]*=|.*?default=) *(\d[\d.e-]*)"
        return next(iter(re.findall(rf"\b{name.replace('_', '[-_]')}{given}", self.source)), "")
