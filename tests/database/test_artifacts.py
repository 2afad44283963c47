"""Files kept by their content."""

import hashlib
import resource

import pytest
from asi_evolve.database.artifacts import ArtifactStore
from asi_evolve.evolution.errors import NotFound, StorageError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "artifacts")


def kept(tmp_path):
    return [path for path in tmp_path.rglob("*") if path.is_file()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(data=st.binary(max_size=2000))
def test_what_is_kept_is_read_back_by_its_hash(store, data):
    assert store.put(data) == hashlib.sha256(data).hexdigest()
    assert store.read(hashlib.sha256(data).hexdigest()) == data


def test_the_same_bytes_are_kept_once(store, tmp_path):
    assert store.put(b"plot") == store.put(b"plot")
    assert len(kept(tmp_path)) == 1


def test_a_file_that_is_gone_is_not_found(store, tmp_path):
    digest = store.put(b"plot")
    kept(tmp_path)[0].unlink()
    with pytest.raises(NotFound, match=f"{digest[:12]}.*is gone"):
        store.read(digest)
    assert store.put(b"plot") == digest
    assert store.read(digest) == b"plot"


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "artifacts").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="Expected to keep an artifact in"):
        ArtifactStore(tmp_path / "artifacts").put(b"plot")


def test_a_write_that_fails_half_way_leaves_nothing_behind(store, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StorageError, match="File too large"):
            store.put(b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert kept(tmp_path) == []
    assert store.read(store.put(b"x" * 5000)) == b"x" * 5000
