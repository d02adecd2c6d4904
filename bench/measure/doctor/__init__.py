"""What of this machine makes measurements noisy or slow, and what a person could change. All of it is only read.

Nothing here imports torch, so that the answer comes at once. Where a limit between good and bad is a matter of choice
and not of fact, it is a constant that says so.
"""
