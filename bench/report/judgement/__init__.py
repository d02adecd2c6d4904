"""A check's or a comparison's judgement made readable, for people and for CI."""
