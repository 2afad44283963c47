"""The test bed: a small decoder, three tasks with verifiers, and the weights that every run starts from."""
