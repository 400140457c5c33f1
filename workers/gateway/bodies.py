"""What the native door answers beside single jobs: pages, batches, estimates, usage."""

from __future__ import annotations

from marshmallow import Schema, fields

from tasks.forms.job import FieldProblemSchema, JobSchema, Usd


class JobsSchema(Schema):
    """A page of jobs, the latest first."""

    jobs = fields.List(fields.Nested(JobSchema), required=True)
    next_cursor = fields.String(
        required=True, allow_none=True, metadata={"description": "Names the next page; null: this was the last."}
    )


class BatchSchema(Schema):
    """Jobs that were asked for together."""

    batch_id = fields.String(
        required=True,
        metadata={"description": "Lists them: `GET /v1/jobs?batch_id=`. The first one's, where all were known before."},
    )
    jobs = fields.List(fields.Nested(JobSchema), required=True)


class EstimateSchema(Schema):
    """What a request would cost, if it were made now."""

    estimate_usd = Usd(required=True, metadata={"description": "By the price list."})
    expected_usd = Usd(
        required=True, metadata={"description": "The dearest of the latest such films, once there are enough of them."}
    )
    warnings = fields.List(fields.Nested(FieldProblemSchema), required=True)


class CostSchema(Schema):
    """The sum of charges of one day, model or key."""

    name = fields.String(required=True)
    charges = fields.Integer(required=True)
    amount_usd = Usd(required=True)
    estimated_usd = Usd(required=True, metadata={"description": "The part of it that the price list was asked for."})


class UsageSchema(Schema):
    """What was charged to the caller's tenant."""

    by_day = fields.List(fields.Nested(CostSchema), required=True)
    by_model = fields.List(fields.Nested(CostSchema), required=True)
    by_key = fields.List(fields.Nested(CostSchema), required=True, metadata={"description": "By provider key."})
    total = fields.Nested(CostSchema, required=True)
