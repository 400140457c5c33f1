"""`python -m tests.mutants [NAME ...]`: every mutant and the test that catches it; fails when one survives."""

from __future__ import annotations

import sys

from tests.mutants.catalogue import BY_NAME, MUTANTS
from tests.mutants.trying import run, verdict


def main() -> int:
    chosen = [BY_NAME[name] for name in sys.argv[1:]] or list(MUTANTS)
    whole = run(sorted({mutant.caught_by for mutant in chosen}))
    if not whole.passed:
        sys.stdout.write(f"{whole.output}\nmutants: the tests fail without any mutant\n")
        return 1
    bad = 0
    sys.stdout.write(f"{'mutant':<31} | {'what is missing':<68} | caught by\n")
    for mutant in chosen:
        problem = verdict(mutant)
        bad += problem is not None
        sys.stdout.write(f"{mutant.name:<31} | {mutant.what:<68} | {problem or mutant.caught_by}\n")
        sys.stdout.flush()
    sys.stdout.write(f"mutants: tried={len(chosen)} caught={len(chosen) - bad} survived_or_untried={bad}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
