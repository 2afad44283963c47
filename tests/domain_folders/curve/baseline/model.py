import numpy as np


def fit(x, y):
    return np.polyfit(x, y, 1)


def predict(model, x):
    return np.polyval(model, x)
