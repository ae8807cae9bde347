"""A page that finds people in the browser, and an HTTP API that finds them here: what `litepose serve` runs."""
