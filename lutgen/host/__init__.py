"""What runs on the host: register maps and drivers, the engine's compiler and its player."""
