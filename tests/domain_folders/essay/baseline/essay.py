def essay(seed):
    return "to be or not to be"
