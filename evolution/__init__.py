"""The vocabulary and the rules of the search. Pure: nothing here reads a file, a clock or a database."""
