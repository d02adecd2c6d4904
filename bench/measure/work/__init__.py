"""How much work a step has to do: floating-point operations, and bytes that have to move."""
