"""All mutants, by the promise that hangs on the guard."""

from __future__ import annotations

from typing import Final

from tests.mutants.of_charges import CHARGES
from tests.mutants.of_creates import CREATES
from tests.mutants.of_restores import RESTORES
from tests.mutants.of_steps import STEPS
from tests.mutants.of_tenants import TENANTS
from tests.mutants.of_turns import TURNS

MUTANTS: Final = (*CREATES, *STEPS, *CHARGES, *TURNS, *RESTORES, *TENANTS)
BY_NAME: Final = {mutant.name: mutant for mutant in MUTANTS}
