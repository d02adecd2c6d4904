"""Checks of this machine's settings that make measurements noisy or slow, with remedies. They only read settings.

No module imports torch at the top, so that results appear at once. A threshold that was chosen rather than derived
is a constant marked as chosen.
"""
