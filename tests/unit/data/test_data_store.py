import json
import multiprocessing
import os
import pickle

import lmdb
import numpy as np
import pytest

from adiabat.core.errors import SchemaVersionError, StoreError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.record import Provenance, Record
from adiabat.data.record_codec import encode_record
from adiabat.data.store import SCHEMA_VERSION, DatasetStore
from adiabat.data.structure import Structure

BASIS = OrbitalBasis("toy", {1: (0,), 8: (0, 1)})


def water(seed, **info):
    rng = np.random.default_rng(seed)
    numbers = np.array([8, 1, 1])
    structure = Structure(numbers, rng.normal(size=(3, 3)), charge=1, spin=1, info=info)
    n_orbitals = BASIS.n_orbitals(numbers)
    matrix = rng.normal(size=(6, 6))
    labels = {
        "energy": np.array(float(seed)),
        "forces": rng.normal(size=(3, 3)),
        "hamiltonian": BlockOperator.from_dense(matrix + matrix.T, n_orbitals),
        "overlap": BlockOperator.from_dense(np.eye(6), n_orbitals),
    }
    return Record(structure, labels, Provenance("toy", "1.0", "HF/toy", {"grid": 5}, orbital_basis=BASIS))


def silicon():
    numbers = np.array([14, 14])
    structure = Structure(
        numbers, np.array([[0.0, 0.0, 0.0], [1.3, 1.3, 1.3]]), np.eye(3) * 5.4, np.array([True, True, False])
    )
    return Record(structure, {"stress": np.eye(3)}, Provenance("file"))


@pytest.fixture
def path(tmp_path):
    with DatasetStore.create(tmp_path / "waters.lmdb") as store:
        store.append_many(water(seed, config_type="MD") for seed in range(5))
    return tmp_path / "waters.lmdb"


def test_a_record_comes_back_as_it_went_in(tmp_path):
    with DatasetStore.create(tmp_path / "a.lmdb") as store:
        for record in (water(3, temperature=300.0), silicon()):
            assert store.append(record)
            back = store[-1]
            assert back.key == record.key
            assert back.provenance == record.provenance
            assert back.structure.info == record.structure.info
            assert (back.structure.charge, back.structure.spin) == (record.structure.charge, record.structure.spin)
            np.testing.assert_array_equal(back.structure.pbc, record.structure.pbc)
            np.testing.assert_array_equal(back.structure.cell, record.structure.cell)
            assert set(back.labels) == set(record.labels)
            for name, value in record.labels.items():
                if isinstance(value, BlockOperator):
                    for part in ("pairs", "offsets", "values", "n_orbitals"):
                        np.testing.assert_array_equal(getattr(back.labels[name], part), getattr(value, part))
                else:
                    np.testing.assert_array_equal(back.labels[name], value)


def test_operators_share_one_pair_list():
    assert encode_record(water(0)).count(b".pairs") == 1


def test_a_second_record_of_one_key_is_refused(path):
    with DatasetStore.open(path, writable=True) as store:
        assert not store.append(water(2))
        assert store.append_many([water(2), water(9), water(9)]) == 1
        assert len(store) == 6
        assert store.keys() == {water(seed).key for seed in (0, 1, 2, 3, 4, 9)}


def test_content_hash_follows_content_and_order(tmp_path, path):
    with DatasetStore.create(tmp_path / "b.lmdb") as other, DatasetStore.open(path) as store:
        other.append_many(water(seed, config_type="MD") for seed in range(5))
        assert other.content_hash == store.content_hash
        other.append(water(7))
        assert other.content_hash != store.content_hash


def test_the_map_grows(tmp_path):
    with DatasetStore.create(tmp_path / "small.lmdb", map_size=1 << 17) as store:
        reader = DatasetStore.open(tmp_path / "small.lmdb")
        assert len(reader) == 0
        assert store.append_many(water(seed) for seed in range(300)) == 300
        assert [float(record.labels["energy"]) for record in reader] == list(range(300))


def _read_in_child(store, queue):
    queue.put([float(record.labels["energy"]) for record in store])


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_readers_in_other_processes_while_one_writes(path, start_method):
    context = multiprocessing.get_context(start_method)
    with DatasetStore.open(path, writable=True) as writer, DatasetStore.open(path) as reader:
        assert len(reader) == 5
        queue = context.Queue()
        for store in (reader, writer):
            child = context.Process(target=_read_in_child, args=(store, queue))
            child.start()
            assert queue.get(timeout=60) == [0, 1, 2, 3, 4]
            child.join()
            assert child.exitcode == 0
        assert writer.append(water(5)), "the children did not harm the parent's store"
        assert len(reader) == 6


def test_a_forked_child_may_not_write(path):
    with DatasetStore.open(path, writable=True) as writer:
        child = os.fork()
        if child == 0:
            try:
                writer.append(water(77))
            except StoreError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_an_unpickled_store_is_a_reader(path):
    with DatasetStore.open(path, writable=True) as writer:
        copy = pickle.loads(pickle.dumps(writer))
        assert len(copy) == 5
        with pytest.raises(StoreError, match="open for reading"):
            copy.append(water(8))
        copy.close()


def test_one_writer_only(path):
    with DatasetStore.open(path, writable=True):
        with pytest.raises(StoreError, match="open for writing in this process"):
            DatasetStore.open(path, writable=True)
        child = os.fork()
        if child == 0:
            try:
                DatasetStore.open(path, writable=True)
            except StoreError as error:
                os._exit(9 if "another process" in error.got else 1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    DatasetStore.open(path, writable=True).close()


def test_a_reader_may_not_write(path):
    with DatasetStore.open(path) as store, pytest.raises(StoreError, match="open for reading"):
        store.append(water(8))


def test_a_closed_store_says_so(path):
    store = DatasetStore.open(path)
    store.close()
    with pytest.raises(StoreError, match="was closed"):
        len(store)


def test_flipped_byte_is_found_and_the_rest_is_readable(path):
    values = water(2, config_type="MD").labels["forces"].tobytes()
    data = bytearray((path / "data.mdb").read_bytes())
    place = data.index(values)
    data[place + 4] ^= 1
    (path / "data.mdb").write_bytes(data)
    with DatasetStore.open(path) as store:
        with pytest.raises(StoreError, match="record 2 of"):
            store[2]
        assert store.damaged_records() == [2]
        assert [float(store[index].labels["energy"]) for index in (0, 1, 3, 4)] == [0, 1, 3, 4]


def test_missing_store(tmp_path):
    with pytest.raises(StoreError, match="no dataset store at"):
        DatasetStore.open(tmp_path / "nothing.lmdb")


def test_creating_leaves_what_is_there(path):
    before = (path / "data.mdb").read_bytes()
    with pytest.raises(StoreError, match="which exists"):
        DatasetStore.create(path)
    assert (path / "data.mdb").read_bytes() == before


def test_something_else_in_lmdb_is_refused(tmp_path):
    other = lmdb.open(str(tmp_path / "other.lmdb"))
    other.close()
    with pytest.raises(StoreError, match="LMDB cannot open"):
        DatasetStore.open(tmp_path / "other.lmdb")


def test_another_schema_version_is_refused(path):
    with lmdb.open(str(path), max_dbs=4) as environment:
        table = environment.open_db(b"meta")
        with environment.begin(write=True) as transaction:
            meta = {"schema_version": SCHEMA_VERSION + 1, "created_by": "adiabat 9.9"}
            transaction.put(b"store", json.dumps(meta).encode(), db=table)
    with pytest.raises(SchemaVersionError, match=r"schema version 2, made by adiabat 9\.9"):
        DatasetStore.open(path)
    with pytest.raises(SchemaVersionError):
        DatasetStore.open(path, writable=True)


def test_info_that_is_no_json_is_refused_and_nothing_is_written(path):
    with DatasetStore.open(path, writable=True) as store:
        with pytest.raises(StoreError, match="not plain JSON"):
            store.append(water(50, thing=object()))
        assert len(store) == 5


def test_a_read_only_directory_can_be_read(path):
    for file in path.iterdir():
        file.chmod(0o444)
    path.chmod(0o555)
    try:
        with DatasetStore.open(path) as store:
            assert len(list(store)) == 5
    finally:
        path.chmod(0o755)
