"""Files that a file browser or a file system leaves in folders that are not theirs."""

_NAMES = (".DS_Store", "Thumbs.db", "desktop.ini", ".directory")
_BEGINNINGS = (".nfs", ".fuse_hidden", "._")


def is_system_file(name: str) -> bool:
    """Whether the system made a file of this name, so that it does not count in a folder.

    >>> is_system_file(".DS_Store"), is_system_file(".nfs00000000059"), is_system_file("notes.txt")
    (True, True, False)
    """
    return name in _NAMES or name.startswith(_BEGINNINGS)
