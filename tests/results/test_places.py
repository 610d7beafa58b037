import pytest

from zsd_ray.records.errors import UserError
from zsd_ray.results.places import free_path
from zsd_ray.storage.store import Store


def test_the_first_place_without_anything_is_taken(tmp_path):
    path = str(tmp_path / "run")
    assert free_path(path, Store()) == path
    (tmp_path / "run").mkdir()
    assert free_path(path, Store()) == path  # empty: nothing is lost
    (tmp_path / "run" / "run.json").write_text("{}")
    assert free_path(path, Store()) == f"{path}-2"
    (tmp_path / "run-2").write_text("a file")
    (tmp_path / "run-4").mkdir()
    (tmp_path / "run-4" / "run.json").write_text("{}")
    assert free_path(f"{path}/", Store()) == f"{path}-3"


def test_a_place_that_cannot_be_looked_up_is_a_user_error():
    with pytest.raises(UserError, match=r"output\.path nosuchscheme://x cannot be looked up"):
        free_path("nosuchscheme://x", Store())


def test_on_an_object_store(s3):
    store = Store(s3.storage)
    s3.client.put_object(Bucket=s3.bucket, Key="run/run.json", Body=b"{}")
    s3.client.put_object(Bucket=s3.bucket, Key="run-20/run.json", Body=b"{}")
    assert free_path(f"{s3.url}/run", store) == f"{s3.url}/run-2"
    assert free_path(f"{s3.url}/other", store) == f"{s3.url}/other"
