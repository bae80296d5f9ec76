"""Tables, figures and pages. Reads results; never runs a network."""
