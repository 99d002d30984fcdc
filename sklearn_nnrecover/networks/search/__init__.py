"""Search for the least-squares optimum: descent, its starts, its width, its reduction."""
