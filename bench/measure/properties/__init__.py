"""The promises of the canonical step, as checks of any loop, each with a name and a statement."""
