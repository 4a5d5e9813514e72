"""Whether the libraries that a package needs are installed in the right version."""

from __future__ import annotations

from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement

# Requirements that the packages themselves do not state.
_UNSTATED = {"gymnasium-robotics": ["mujoco==3.3.7"]}


def version_conflict(module: str) -> str:
    """Return which requirement of a module's distribution is not met, or an empty text."""
    top_level = module.partition(".")[0]
    for distribution in metadata.packages_distributions().get(top_level, ()):
        stated = metadata.requires(distribution) or []
        for text in [*_UNSTATED.get(distribution.lower().replace("_", "-"), ()), *stated]:
            installed = _conflicting_version(text)
            if installed is not None:
                needed = text.partition(";")[0].strip()
                version = metadata.version(distribution)
                return f"{distribution} {version} needs {needed}, and {installed} is installed"
    return ""


def _conflicting_version(text: str) -> str | None:
    """Return the installed version of a required distribution if it is not allowed, else None."""
    try:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            return None
        installed = metadata.version(requirement.name)
    except (InvalidRequirement, metadata.PackageNotFoundError):
        return None  # a missing distribution raises an ImportError, which names it
    return None if requirement.specifier.contains(installed, prereleases=True) else installed
