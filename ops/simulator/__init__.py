"""A faithful stand-in for the video provider: its wire format, rules, waiting times, films and bill.

It witnesses against the rest of the project, so it imports nothing of it and restates the provider's rules by itself.

    python -m ops.simulator --bill var/bill.jsonl --data var/simulator --speed 30

prints `{"event":"listening","url":"http://127.0.0.1:PORT","pid":N}` and runs until SIGTERM or SIGINT. `--speed` is how
many simulated seconds pass in a real one: it divides waiting times, the minute of the rate limit and the life of
output URLs. The bill, and the films and tasks under `--data`, outlive the process: started again on the same two, it
knows its tasks, whose time went on by the wall clock meanwhile. Links to outputs end with the process (a poll gives
fresh ones), and the counts of rate limits, rules and `fault_times` begin anew.

Endpoints
    POST /model/v1/generation              create
    GET  /model/v1/generation/task/{id}    poll, with the key that created it; 404 for any other
    GET  /files/{id}/{name}?expires&sig    an output, whole or a range; a fresh link with each poll
    GET  /admin/state                      counters, tasks open now and at most, by key alias; films
    GET  /admin/bill                       totals of the bill
    GET, PUT /admin/scenario               the rules; setting them starts the counting of creates anew

Keys. Without `--keys` any that begins with `sk-` is taken. Keys appear everywhere as aliases (`bill.key_alias`).
Refusals: 401 no or unknown key, 403 no balance (`--broke-keys`), 429 with Retry-After above `--rate-per-minute` and
without it above `--open-limit`, 404 unknown model, 400 for parameters against the rules.

Pictures. Data URLs are used as they are. `http` URLs on this machine's loopback are fetched; all others stand for a
picture painted from the URL's hash, since nothing is ever fetched from outside. A loopback URL that gives no usable
picture fails the task with code 10004097, a picture of which no film can be made with 10004095. The Exif orientation of
a JPEG turns it upright; PNG and WebP are shown as stored.

Scenarios. A JSON list of rules. The first rule that matches a create and speaks about a group decides that group:

    [{"match": {"nth": 3}, "poll": {"outcome": "failed", "code": "010004095", "message": "Internal generation error"}},
     {"match": {"prompt_contains": "canary"}, "times": 2, "create": {"status": 429, "retry_after": 1}},
     {"match": {"chance": 0.02}, "poll": {"never": true}}]

match       all given must hold: nth, every, chance (0..1), prompt_contains, key (key or alias), model, resolution.
            Creates are counted once their key, rate and parameters are found right.
times       how often the rule is used at most
create      status (400..), body (message, error, error_object, status_object, or any JSON sent as it is), retry_after,
            finished (answers with the finished task), fault
poll        outcome (completed, failed), code (10004095 unless given; a string such as "010004095" stays one), message,
            error_form (error_message, message, string), latency_s (simulated), never, cost_usd (a failed task costs
            nothing without it), cost_form (string, number, empty, null, missing, garbage), discount, usage (by_outcome,
            present, missing), usage_extra, metadata (plain, full, missing), progress (fraction, missing), words (such
            as {"completed": "done"}), fault, fault_times
output      count (null: no `output` at all), contents (films in each output), cover (adds an image), duration_s and
            resolution (of the film, in place of those ordered), say_duration, fault, fault_times
callback    strict (a failed challenge refuses the create), form (upstream, task), silent, copies

Faults are rows of one table, `faults.FAULTS`, which says at which stage each may stand. `fault_times` counts the polls
or downloads of a task that meet the fault, from its first one; 1 unless given.

Records of tasks (`records.py`) are JSON files under `--data`/tasks, one for each task on the bill, until a day after
its end. One that cannot be read is named on stderr and its task is unknown.

The bill (`bill.py`) is a file of JSON lines: `create` before a create is answered, `price` before a task shows as
ended, `delivery` before the last piece of a file leaves. Each is on disk before the client can know. The cost that a
poll shows, in whatever form, never changes what stands in the bill.
"""
