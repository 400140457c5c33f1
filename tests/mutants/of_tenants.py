"""Without one of these a tenant sees or changes what is another's."""

from __future__ import annotations

from typing import Final

from tasks.ledger import deliveries, delivery_reports, reports, resources, webhook_secrets
from tests.mutants.mutant import Mutant, without

_TENANTS: Final = "tests/integration/test_two_tenants.py::"
_STRANGER: Final = _TENANTS + "TestByTheGateway::test_a_stranger_sees_nothing_and_changes_nothing[sqlite]"

TENANTS: Final = (
    Mutant(
        "shows-anybodys-job",
        "a job is shown, cancelled and tried again for whoever names its id",
        without(resources.resources_of, 'if tenant in (None, row["tenant"])', "if True"),
        _STRANGER,
    ),
    Mutant(
        "lists-everybodys-jobs",
        "a page of jobs is of all tenants",
        without(resources.page_of, ".where(owner == tenant)", ""),
        _STRANGER,
    ),
    Mutant(
        "lists-everybodys-webhooks",
        "a page of webhooks is of all tenants",
        without(delivery_reports.page_of, "(tenant, webhooks.c.tenant)", "(None, webhooks.c.tenant)"),
        _STRANGER,
    ),
    Mutant(
        "replays-anybodys-webhook",
        "a webhook is sent again for whoever names its id",
        without(deliveries.replay, "sa.true() if tenant is None else webhooks.c.tenant == tenant", "sa.true()"),
        _STRANGER,
    ),
    Mutant(
        "forgives-anybodys-receiver",
        "receivers of webhooks are tried again for whoever names a webhook",
        without(deliveries.replay, "select(webhooks.c.receiver).where(chosen)", "select(webhooks.c.receiver)"),
        _TENANTS + "TestByTheCommandLine::test_a_verb_for_one_tenant_is_about_no_other[sqlite]",
    ),
    Mutant(
        "sums-everybodys-charges",
        "what was charged to all tenants is summed up for one",
        without(reports.costs, "if tenant is not None:", "if False:"),
        _STRANGER,
    ),
    Mutant(
        "shows-everybodys-secrets",
        "the secrets of all tenants' webhooks are shown to one",
        without(webhook_secrets.secrets_of, ".where(table.c.tenant == tenant, living)", ".where(living)"),
        _STRANGER,
    ),
    Mutant(
        "ends-everybodys-secrets",
        "a new secret of one tenant ends the secrets of all",
        without(webhook_secrets.rotate, ".where(table.c.tenant == tenant, longer)", ".where(longer)"),
        _STRANGER,
    ),
)
