"""Npz files that numpy would refuse, and reasons that quote a candidate."""

import resource
import struct
import zipfile

import numpy as np
import pytest
from asi_evolve.sandbox.jobs import ArrayRule
from asi_evolve.sandbox.outputs import Refused, check_npz, read_metrics

ONE = {"a": ArrayRule("uint8", (1,))}
HEADER = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }\n"


def npy(header, data=b"x"):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def archive(path, *members):
    with zipfile.ZipFile(path, "w") as stream:
        for name, data in members:
            stream.writestr(name, data)
    return path


def refused(path, rules=ONE):
    with pytest.raises(Refused) as error:
        check_npz(path, rules)
    return str(error.value)


@pytest.mark.parametrize("shape", [b"(True,)", b"(1.0,)"])
def test_lengths_are_integers(tmp_path, shape):
    refused(archive(tmp_path / "a.npz", ("a.npy", npy(HEADER.replace(b"(1,)", shape)))))


def test_an_archive_begins_at_its_first_byte(tmp_path):
    path = archive(tmp_path / "a.npz", ("a.npy", npy(HEADER)))
    check_npz(path, ONE)
    path.write_bytes(b"#" + path.read_bytes())
    refused(path)


def test_a_bool_is_zero_or_one(tmp_path):
    header = HEADER.replace(b"|u1", b"|b1")
    refused(archive(tmp_path / "a.npz", ("a.npy", npy(header, b"\x02"))), {"a": ArrayRule("bool", (1,))})


def test_no_more_than_the_ends_of_a_forged_directory_are_read(tmp_path):
    entry = b"PK\x01\x02" + b"\0" * 24 + struct.pack("<H", 1) + b"\0" * 16 + b"x"
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, len(entry) * 300_000, 0, 0)
    (tmp_path / "a.npz").write_bytes(entry * 300_000 + end)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    refused(tmp_path / "a.npz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 0.3


def test_a_reason_can_be_stored_and_shown(tmp_path):
    header = HEADER.replace(b"|u1", rb"\ud800\x1b[2J")
    refused(archive(tmp_path / "a.npz", ("a.npy", npy(header)))).encode()
    assert refused(archive(tmp_path / "b.npz", ("\x1b[2J\u202e.npy", b""))).isprintable()
    (tmp_path / "metrics.json").write_text('{"invalid": "got \\ud800 \\u001b[2J"}')
    assert read_metrics(tmp_path) == "got ? [2J"


def test_what_numpy_writes_is_accepted(tmp_path):
    arrays = {"a": np.zeros((2, 3)), "b": np.ones(0, bool), "c": np.int64(3), "d": np.ones(4, bool)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        check_npz(tmp_path / "a.npz", {k: ArrayRule(str(v.dtype), v.shape) for k, v in arrays.items()})
    np.savez(tmp_path / "e.npz")
    check_npz(tmp_path / "e.npz", {})
