"""The exceptions that are an answer to the person who asked, each one line."""


class BadInput(Exception):  # noqa: N818 - it names what was given, as KeyError does not
    """A mistake in what was asked for; its text is one line that says what to do instead."""


class NotComparable(Exception):  # noqa: N818 - it says what two sides are
    """Two sides of which nothing fair can be said together; its text is one line that says why."""
