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
    GET  /files/{id}/{name}?expires&sig    an output, whole or a range (If-Range too); a fresh link with each poll
    GET  /admin/state                      counters, tasks open now and at most, by key alias; films
    GET  /admin/bill                       totals of the bill
    GET  /admin/tasks                      every task on the bill, as a provider's dashboard shows them to a person
    GET, PUT /admin/scenario               the rules; setting them starts the counting of creates anew

Keys. Without `--keys` any that begins with `sk-` is taken. Keys appear everywhere as aliases (`bill.key_alias`).
Refusals: 401 no or unknown key, 403 no balance (`--broke-keys`), 429 with Retry-After above `--rate-per-minute` and
without it above `--open-limit`, 404 unknown model, 400 for parameters against the rules.

Models. Those in `validation.MODELS`, each with its parameters, rules, waiting times and prices. A parameter that only
other models have is refused with 400, one that none of them has is passed over. A film that is made of a text alone is
16:9 and shows one and the same scene; its prompt's camera instructions move the camera as in any other.

Pictures. Data URLs are used as they are. `http` URLs on this machine's loopback are fetched; all others stand for a
picture painted from the URL's hash, since nothing is ever fetched from outside. A loopback URL that gives no usable
picture fails the task with code 10004097, a picture of which no film can be made with 10004095. The Exif orientation of
a JPEG turns it upright; PNG and WebP are shown as stored.

Scenarios. A JSON list of rules. The first rule that matches a create and speaks about a group decides that group:

    [{"match": {"nth": 3}, "poll": {"outcome": "failed", "code": "010004095", "message": "Internal generation error"}},
     {"match": {"prompt_contains": "canary"}, "times": 2, "create": {"status": 429, "retry_after": 1}},
     {"match": {"chance": 0.02}, "create": {"fault": "accept_then_reset"}},
     {"match": {"chance": 0.02}, "create": {"fault": "http_504_after_accept"}, "callback": {"silent": true}},
     {"match": {"chance": 0.02}, "poll": {"never": true}}]

name        by which `/admin/tasks` and `/admin/scenario` show the rule; without it, its place (`rules[0]`)
match       all given must hold: nth, every, chance (0..1), prompt_contains, key (key or alias), model, resolution.
            Creates are counted once their key, rate and parameters are found right. A chance is drawn for each rule and
            create number by itself, so that the shares of rules add up (but for the few creates that more than one
            would take: 2 % and 2 % above are 3.96 %), and the same `--seed` draws the same for the same numbers in
            whatever order creates come. Which job gets which number is the arrival's: creates that come at the same
            time may change places.
times       how often the rule is used at most
create      status (400..), body (message, error, error_object, status_object, or any JSON sent as it is), retry_after
            (seconds, or text such as a date), finished (answers with the finished task), fault
poll        outcome (completed, failed), code (10004095 unless given; a string such as "010004095" stays one), message,
            error_form (error_message, message, string), latency_s (simulated; above a client's deadline, the task
            ends after it), never, cost_usd (what it costs on the bill; a failed task costs nothing without it),
            cost_form (how polls show that: string, number, empty, null, missing, garbage, negative, negative_number,
            nan, nan_number, huge, huge_number; `_number` is a bare one: -0.28, NaN, 1e400), discount, usage
            (by_outcome, present, missing), usage_extra, metadata (plain, full, missing), progress (fraction, missing),
            words (such as {"completed": "done"} or, unknown to all, {"in_progress": "pondering"}), goes_back (so many
            polls show it in progress again, after the first that showed its end), fault, fault_times
output      count (null: no `output` at all), contents (films in each output), cover (adds an image; with 0 contents it
            is alone), duration_s and resolution (of the film, in place of those ordered), say_duration, url (stands in
            place of each link), ranges (served, ignored: a Range request gets the whole file and a 200), fault,
            fault_times, redirect_to (with the fault `redirect`: its Location, such as http://169.254.169.254/)
callback    strict (a failed challenge refuses the create), form (upstream, task), silent (none at all), copies (2: all
            come doubled), early (challenge and first callback come before the create is answered), forged (one more,
            before the others, that is false: `unknown_id` says that a task nobody knows is completed, `other_id` says
            it of another task, `status` says of this one how it will not end)

Faults are rows of one table, `faults.FAULTS`, which says at which stage each may stand and, at create, whether the task
comes to be. `fault_times` counts the polls or downloads of a task that meet the fault, from its first one: 1 unless
given, and with null all of them. So a poll that is not found for a while, and one that never is:

    [{"match": {"nth": 1}, "poll": {"fault": "http_404", "fault_times": 5}},
     {"poll": {"fault": "http_404", "fault_times": null}}]

A fault bends the answer that was due: a truncated output ends halfway through the range asked for, and going on from
there is served. `redirect_loop` leads back to the address asked, so that with 2 `fault_times` it is two redirects and
then the file, and at create (307) every hop that is followed is one more task on the bill.

Tasks. `/admin/tasks` gives `{"tasks": [...]}` in the order of the bill: id, key (alias), created_at, status, rules (of
the scenario, that decided how the create and its task are treated), fault (of the create), cost_usd (as billed; null
until it is), fingerprint. The fingerprint finds the task of one create call, since there is no idempotency key: the
SHA-256 in hex of the create's `params`, as ASCII JSON with sorted keys and no spaces. Status, rules and fault are null
for a task that is not (or not yet) known beyond the bill.

Records of tasks (`records.py`) are JSON files under `--data`/tasks, one for each task on the bill, until a day after
its end. One that cannot be read is named on stderr and its task is unknown.

The bill (`bill.py`) is a file of JSON lines: `create` before a create is answered, `price` before a task shows as
ended, `delivery` before the last piece of a file leaves that one answer holds whole and no fault bends. Each is on disk
before the client can know. The cost that a poll shows, in whatever form, never changes what stands in the bill.
"""
