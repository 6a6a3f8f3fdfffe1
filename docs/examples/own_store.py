import pytest

from flask_clustertoken.stores.memory import MemoryStore, Shelf
from flask_clustertoken.testing.contract import StoreContract


class TestMyStore(StoreContract):
    @pytest.fixture
    def make_store(self, clock):
        shelf = Shelf()  # what all handles share: your server, your folder
        handles = []

        def make():
            handles.append(MemoryStore(shelf, clock=clock))
            return handles[-1]

        yield make
        for handle in handles:
            handle.close()


def try_it():
    assert issubclass(TestMyStore, StoreContract)
