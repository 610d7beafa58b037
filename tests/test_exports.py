import ast
from pathlib import Path

import zsd_ray

CLI = Path(zsd_ray.__file__).parent / "cli"


def test_every_public_name_is_there():
    assert dir(zsd_ray) == sorted(zsd_ray.__all__)
    assert set(zsd_ray.__all__) == set(zsd_ray._HOMES)
    for name in dir(zsd_ray):
        found = getattr(zsd_ray, name)
        assert (found.__module__, found.__name__) == (zsd_ray._HOMES[name], name)


def test_what_the_commands_do_is_public():
    """What the command line imports to do a job, a notebook reaches by `zsd_ray.NAME`."""
    jobs = {"run", "forecast", "sweep", "probe", "train", "generate", "fid", "self_check"}
    jobs |= {"illustrate", "check_model"}
    assert jobs <= set(dir(zsd_ray))
    imported = set()
    for path in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zsd_ray."):
                imported |= {(node.module, alias.name) for alias in node.names}
    homes = {(zsd_ray._HOMES[name], name) for name in jobs}
    assert homes <= imported
