"""What surrounds the stack: simulator, image, watching, releases and the pages about it. Refuses to be needed by it.

Of the pages, `architecture.md` says how it works and `decisions` why so; `operating.md` and `runbooks` are for the
person on call; `metrics.md`, `events.md`, `traces.md`, `report.md` and `alerts-seen.md` say what there is to see;
`performance.md` with `benchmarks`, and `sizing.md`, what it costs.
"""
