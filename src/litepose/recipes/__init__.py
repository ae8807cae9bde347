"""The experiments as complete TOML files: data of the package, read by `litepose.training.recipe`."""
