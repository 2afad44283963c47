"""What is stored of where a score comes from, beyond what a running daemon shows."""

import os

from asi_evolve.sandbox import provenance
from asi_evolve.sandbox.gpus import models
from asi_evolve.sandbox.provenance import DataFingerprints, Difference, differences

from .conftest import SUBMIT


def data_folder(place, **files):
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name).write_text(text)
    return place


def test_data_is_known_by_names_and_contents_wherever_it_lies_and_however_old_it_is(tmp_path):
    first = data_folder(tmp_path / "first", a="1", b="2")
    copy = data_folder(tmp_path / "copy", b="2", a="1")
    os.utime(copy / "a", (1, 1))
    fingerprint = DataFingerprints().of
    assert fingerprint(first) == fingerprint(copy)
    others = [{"a": "1", "b": "3"}, {"a": "1", "c": "2"}, {"a": "12", "b": ""}, {"a": "1"}]
    found = {fingerprint(data_folder(tmp_path / str(place), **files)) for place, files in enumerate(others)}
    assert len(found | {fingerprint(first)}) == 5


def test_data_that_changes_while_the_daemon_lives_is_seen(tmp_path):
    folder, fingerprints = data_folder(tmp_path / "data", a="1"), DataFingerprints()
    before = fingerprints.of(folder)
    assert fingerprints.of(folder) == before
    (folder / "a").write_text("2")
    os.utime(folder / "a", ns=(1, 1))
    assert fingerprints.of(folder) != before


def test_of_a_large_file_both_ends_and_the_size_tell(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "READ_WHOLE_BYTES", 10)
    monkeypatch.setattr(provenance, "END_BYTES", 4)
    texts = ["head.middle.tail", "HEAD.middle.tail", "head.middle.TAIL", "head.middle..tail"]
    folders = [data_folder(tmp_path / str(place), a=text) for place, text in enumerate(texts)]
    assert len({DataFingerprints().of(folder) for folder in folders}) == 4


def test_what_was_not_recorded_cannot_differ_and_what_is_missing_now_does():
    before, after = {"python": "3.11", "cpu": "a", "gpu": "b"}, {"python": "3.11", "cpu": "c", "tier": "bwrap"}
    assert differences(before, after) == [Difference("cpu", "a", "c"), Difference("gpu", "b", "absent")]


def test_the_model_of_a_gpu_is_told_by_its_device_number(tmp_path):
    for address, model, minor in (("0000:01:00.0", "NVIDIA H200", 1), ("0000:02:00.0", "NVIDIA L4", 0)):
        data_folder(tmp_path / address, information=f"Model: \t\t {model}\nIRQ:   \t\t 27\nDevice Minor: \t {minor}\n")
    assert models((0, 1, 2), tmp_path) == ["NVIDIA L4", "NVIDIA H200", "unknown"]


def test_what_the_daemon_knows_is_stored_with_what_the_supervisor_finds(lab):
    end = lab.run(SUBMIT, provenance={"domain_version": "3"})
    assert end.environment["domain_version"] == "3"
    assert end.environment["tier"] == lab.spec.isolation["tier"]


def test_a_job_without_a_harness_judges_what_lies_there_already(lab):
    job = lab.lay_down("raise RuntimeError('must not run')", harness=None)
    (job.out / "answer.txt").write_text("42")
    assert lab.finish(job).metrics == {"value": 42.0}
    assert not job.stdout.exists()


def test_a_job_without_a_harness_trusts_what_lies_there_no_more_than_what_a_candidate_left(lab, tmp_path):
    job = lab.lay_down("", harness=None)
    (tmp_path / "elsewhere").write_text("42")
    (job.out / "answer.txt").symlink_to(tmp_path / "elsewhere")
    end = lab.finish(job)
    assert (end.outcome, end.metrics) == ("invalid_output", {})
