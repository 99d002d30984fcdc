"""Two sparse factors: shared supports, shortest descriptions, and which atoms are proven."""
