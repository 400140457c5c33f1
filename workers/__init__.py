"""What runs the tasks, and what people and other services meet. Refuses to decide about a job: that is `tasks`.

- Celery: `app` and its settings (`celeryconfig`), `pools` (which worker serves which queue), the transport (`broker`,
  with a repair of kombu in `kombufix`), what every worker does beside its tasks (`lanekeeper`, `spoolkeeper`,
  `ledgerwatch`, `consumer`; `forking` keeps it apart from forks), what Flower is told and asks (`jobevents`,
  `flowerapp`), `logs`.
- Settings: `settings`, with `settingrules`, `limits`, `credentials`, and the places that the environment names
  (`transports`, `celeryplace`, `storeplace`, `traceplace`). `runtime` makes clients of them.
- A stack on one machine: `embedded`, of the parts that `stackplan` names, once `stackchecks` has looked; `supervisor`
  keeps it running, with `parts`, `guard`, `probes` and `folderlock`.
- Doors and pages: `cli`, `gateway`, `metrics`, `report`, `demo`; `showing` is what pages share.
"""
