"""What the evaluator makes of the trainer's runs: their form, paired gains with intervals, two pictures."""
