"""Reinforcement learning of the test bed: the loop, its regimes, and what is measured of a run."""
