"""How much memory this host has, to refuse what cannot fit before it is tried."""

import os

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def host_bytes() -> int:
    """The memory of this host, or of the container that this process is in."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _LIMITS:
        try:
            with open(path) as file:
                found.append(int(file.read()))
        except (OSError, ValueError):  # there is none
            continue
    return min(found)


def check_fits(field: str, needed: int, what: str) -> None:
    """Refuses what needs more memory than this host has.

    Args:
      field: of the settings, or an array of a file: what the message begins with.
      needed: bytes.
      what: it is that needs them.

    Raises:
      ValueError: it does not fit.

    >>> check_fits("image_size", 10, "the images")
    """
    if needed > (there := host_bytes()):
        raise ValueError(
            f"{field}: must be so that {what} fit into {there / 1e9:.3g} GB of memory,"
            f" got {needed / 1e9:.3g} GB"
        )
