"""Lists what can be run."""

import signal

from benchmarks.harness.catalog import STUDIES, TOOLS, about


def main() -> None:
    """Prints every study and tool with its question and an example."""
    for title, names in (("Studies", STUDIES), ("Tools", TOOLS)):
        print(f"{title}\n")
        for name in names:
            question, example = about(name)
            print(f"  {name}: {question}\n      {example}\n")
    print("Every command explains itself with --help.")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # quiet, where its reader leaves
    main()
