"""A package, because a dependency (torch-fidelity) installs a package of this name, too."""
