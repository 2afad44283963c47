# ruff: noqa
# attack: answer_of_another_form
# tries: to have the stub answer with float64 gradients and arrays that nobody asked for
# expect: candidate_error: Expected policy_loss to be answered with loss, gradient

import sys

import numpy

_channel = sys.modules["channel"]
_true_answer = _channel._answer


def _answer(functions, call):
    came = dict(_true_answer(functions, call))
    if call.label == "policy_loss":
        came |= {"rewards": numpy.ones(3), "gradient": came["gradient"].astype(float)}
    return came


_channel._answer = _answer
