"""Searching: the coefficients, the baseline, and what each way of scaling is worth. Trains through evaluators."""
