"""Real factors behind noise: supports within noise, joint least squares, standard errors."""
