"""Networks behind outputs of which some are arbitrarily wrong, or noise of any law."""
