"""What the data prove of a network: tests, identification, error bars, verdicts."""
