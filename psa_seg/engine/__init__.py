"""What surrounds a run: configuration, checks before it, the runner, the report after it."""
