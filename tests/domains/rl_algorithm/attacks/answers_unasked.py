# ruff: noqa
# attack: answers_unasked
# tries: to answer the next call before it is made, from a thread that goes on by itself
# expect: candidate_error: Expected

import os
import sys
import threading

import numpy

_channel = sys.modules["channel"]
_honest_loss = policy_loss


def _flood(shape):
    descriptor = int(os.environ["CHANNEL_WRITE"])
    for number in range(1, 10_000):
        answer = {"loss": numpy.float64(0), "gradient": numpy.ones(shape, numpy.float32)}
        answer |= {"metric_names": numpy.zeros(0, numpy.uint8), "metric_values": numpy.zeros(0)}
        os.write(descriptor, _channel.Frame(_channel.ANSWER, number, "", answer).pack())


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    if info.step == 1:
        threading.Thread(target=_flood, args=[tuple(mask.shape)], daemon=True).start()
    return _honest_loss(logp, old_logp, ref_logp, advantages, mask, info)
