import zsd_ray


def test_the_public_names_are_these():
    assert dir(zsd_ray) == ["RunConfig", "RunResult", "UserError", "load_config", "run"]
    assert all(getattr(zsd_ray, name) is not None for name in dir(zsd_ray))
