"""Whether a candidate is a new program: equal, renamed and nearly equal ones are told apart from new ones."""
