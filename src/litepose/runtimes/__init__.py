"""How arrays pass through an engine. One file an engine; see `runtimes.base`."""
