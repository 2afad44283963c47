"""Search over every text of a workspace, by words and by meaning, and the indexes it goes by."""
