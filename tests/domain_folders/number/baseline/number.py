def number(seed):
    return 1.0
