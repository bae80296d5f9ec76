"""Our compiled engine for the CPU: fused steps, packed weights, and the program that runs them."""
