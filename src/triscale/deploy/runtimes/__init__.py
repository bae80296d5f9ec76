"""Other libraries that write and run networks: one file for each, loaded when it is needed."""
