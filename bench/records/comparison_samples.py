"""The raw samples of a comparison: two tidy tables. All times are seconds; a device column is NaN on the host's clock.

``pair`` is an index into ``Comparison.pairs``; a quad is four turns, base, head, head, base or the other way round.
"""

_PLACE = {"pair": "int32", "quad": "int32", "turn": "int32", "head": "bool"}
BLOCKS = {
    # One row a block: consecutive steps, `lapped` phase by phase or timed as a whole.
    **_PLACE,
    "lapped": "bool",
    "steps": "int64",
    "host_seconds": "float64",
    "device_seconds": "float64",
    "involuntary_switches": "int64",
    "steal_seconds": "float64",
    "throttle_reasons": "str",
    "foreign_processes": "int64",
}
PHASES = {
    # One row a phase of a lapped block: the mean over its steps.
    **_PLACE,
    "phase": "str",
    "host_seconds": "float64",
    "device_seconds": "float64",
}
