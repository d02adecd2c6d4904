"""The one exception that means: the person asked for something that cannot be done."""


class BadInput(Exception):  # noqa: N818 - it names what was given, as KeyError does not
    """A mistake in what was asked for; its text is one line that says what to do instead."""
