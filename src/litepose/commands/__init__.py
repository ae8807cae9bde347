"""One file a verb; see `litepose.cli`."""
