"""The architecture search of MnasNet's space that found EfficientNet-B0 (section 4): controller, evolution, random."""
