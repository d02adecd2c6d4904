"""The exceptions whose text is shown to the user, one line each."""


class BadInput(Exception):  # noqa: N818 - its name describes the input
    """A mistake in the user's input. Its text is one line that says what to do instead."""


class NotComparable(Exception):  # noqa: N818 - its name describes the two sides
    """Two sides that cannot be compared fairly. Its text is one line that says why."""
