"""The two ways a loop says no."""

LONGEST = 700
"""Characters of a message; names that were given may be of any length."""


class BadSpec(Exception):  # noqa: N818 - it names what was given
    """A loop or workload was asked for that is not there or not usable; one line that says what to do.

    It quotes what was given, so whatever would break the line, or steer a terminal, is shown escaped.
    """

    def __init__(self, text: str) -> None:
        text = text if len(text) <= LONGEST else f"{text[: LONGEST - 200]}…{text[-199:]}"
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


class Skip(Exception):  # noqa: N818 - a skip is no error
    """This loop cannot run with this task or on this machine; the text is the reason that the report shows."""
