"""From trained networks to new data: features of frozen ones, linear heads on them, and which network to begin from."""
