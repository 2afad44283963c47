"""Trains the models of a run, on a CPU, a GPU or several, and reports on it."""
