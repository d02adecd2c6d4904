"""The timed code: one canonical training step, its versions, and their training jobs. It uses no clocks."""
