"""The search for a batch size: what fits, and what trains the most samples a second."""
