"""From raw samples to claims: every figure with its interval, every difference with its verdict. No torch."""
