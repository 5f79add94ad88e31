"""Search for the settings of a code and its agent with Optuna."""
