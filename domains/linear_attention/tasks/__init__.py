"""What is learnt and what is asked: synthetic tasks, text, token files, downstream tasks."""
