# ruff: noqa
# attack: pickles
# tries: to have the trainer unpickle something: in the words of metrics, in arrays of objects, in frames of its own
# expect: candidate_error: Expected

import os
import pickle
import sys

import numpy

_channel = sys.modules["channel"]
_honest_loss = policy_loss


class _Payload:
    def __reduce__(self):
        return os.system, ('touch "$JOB/out/rl_attack_marker" /tmp/rl_attack_marker',)

    def __float__(self):
        return 1.0


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    loss, told = _honest_loss(logp, old_logp, ref_logp, advantages, mask, info)
    if info.step == 0:
        return loss, {"payload": _Payload(), pickle.dumps(_Payload(), 0).decode("latin-1"): 1.0}
    if info.step == 1:
        return loss, {"payload": numpy.array(_Payload(), dtype=object)}
    pickled = pickle.dumps({"loss": _Payload()})
    header = _channel.HEADER.pack(_channel.MAGIC, _channel.ANSWER, 1, 0, 1, len(pickled))
    os.write(int(os.environ["CHANNEL_WRITE"]), header + pickled)
    return loss, told
