"""The stage on real models: TRL's GRPO trainer with a candidate's advantages and loss, a model folder, mathematics."""
