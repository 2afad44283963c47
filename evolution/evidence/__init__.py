"""What scores are evidence of: differences, leads, effects of design choices, plateaus, honest baselines."""
