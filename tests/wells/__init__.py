"""The package of a made-up team, for the end-to-end tests: models of wells, some of which misbehave."""
