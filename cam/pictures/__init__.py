"""Pictures in, pictures out: from a file to the panel that explains it."""
