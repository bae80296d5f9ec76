"""The page that ends a run: one HTML file, readable offline, from the files of a run folder alone."""
