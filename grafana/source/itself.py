"""Tollgate itself: does it keep up, has it room, and is what it runs with what was meant."""

from functools import partial

from . import links, panels, variables, words
from .board import Board
from .panels import NO_TRAFFIC, NOT_SCRAPED, NOTHING, coloured, states, words_for
from .queries import INSTANCE, NONE_OF_IT, metric, metric_now

# What a Tollgate says of itself is there without requests too.
series = partial(panels.series, empty=NOT_SCRAPED)
stat = partial(panels.stat, empty=NOT_SCRAPED)

RATE = "[$__rate_interval]"
OF = f"{{{INSTANCE}}}"
BY = "sum by (instance)"
RECORD_COLOURS = {"written": words.GREEN, "interrupted": words.AMBER, "dropped": words.RED, "rejected": "dark-red"}


def board() -> Board:
    about = "Does it keep up: ledger, journal, disk, memory, reloads, and its own time in a request."
    made = Board(words.SELF, "Tollgate / Tollgate itself", about)
    made.choices(variables.prometheus(), variables.instance())
    made.panels(*_numbers())
    made.row("Ledger", *_ledger())
    made.row("Its own time", *_time())
    made.row("Process", *_process())
    made.row("Settings, prices, labels", *_settings())
    return made.first_aid()


def _numbers():
    of_lost = f'{{{INSTANCE}, result=~"dropped|rejected"}}'
    lost = f"sum(increase(tollgate_ledger_records_total{of_lost}{RATE})) or {NONE_OF_IT}"
    used = f"max(1 - tollgate_data_dir_free_bytes{OF} / tollgate_data_dir_size_bytes{OF})"
    return [
        stat("Running", "How many Tollgates Prometheus scrapes, of those chosen.",
             metric_now(f"count(tollgate_build_info{OF})", "running"),
             empty="Prometheus scrapes none: the last row says what to do."),
        stat("Youngest since", "When the process that started last did so. A recent time that nobody planned is a crash.",
             metric_now(f"max(process_start_time_seconds{OF}) * 1000", "started"), unit=words.MOMENT),
        stat("Ledger behind", "At most so old is what is not in the database yet. Requests do not wait for it.",
             metric(f"max(tollgate_ledger_lag_seconds{OF})", "behind"), unit=words.SECONDS, thresholds=words.LAG),
        stat("Records lost", "The most records of one step of this range that are in no database: the disk refused "
             "them and memory was full, or they were set aside.", metric(lost, "lost"), calc="max",
             thresholds=words.NONE_IS_GOOD),
        stat("Disk used", "The fullest of the file systems that hold a ledger.", metric_now(used, "used"),
             unit=words.RATIO, thresholds=words.USED),
        stat("Overhead, p99", "Tollgate's own time in a request, that ninety-nine of a hundred do not exceed.",
             metric(_overhead(0.99), "p99"), unit=words.SECONDS, thresholds=words.OVERHEAD, empty=NO_TRAFFIC,
             links=[links.to(words.LATENCY, "Where the time goes")]),
        stat("Settings", "Whether the files of settings and rules were good when they were last read. If not, the ones "
             "before are in force.", metric_now(f"min(tollgate_config_reload_success{OF})", "settings"),
             unit=words.NO_UNIT, thresholds=words.ONE_IS_GOOD).mappings([
                 words_for({"1": ("good", words.GREEN), "0": ("refused", words.RED)})]),
        stat("Memory", "Resident memory of the largest.", metric(f"max(process_resident_memory_bytes{OF})", "memory"),
             unit=words.BYTES),
    ]  # fmt: skip


def _overhead(quantile: float) -> str:
    return f"histogram_quantile({quantile}, sum by (le) (rate(tollgate_overhead_seconds_bucket{OF}{RATE}))) >= 0"


def _ledger():
    commit = f"sum by (le) (rate(tollgate_ledger_commit_seconds_bucket{OF}{RATE}))"
    return [
        series("Behind", "The age of the oldest entry that is not in the database, at most.",
               metric(f"max by (instance) (tollgate_ledger_lag_seconds{OF})", "{{instance}}"),
               unit=words.SECONDS, width=8, thresholds=words.LAG),
        series("Journal", "What is in the journal and not in the database yet. It grows while the database does not take it.",
               metric(f"max by (instance) (tollgate_ledger_journal_bytes{OF})", "{{instance}}"), unit=words.BYTES, width=8),
        coloured(series(
            "Records", "What became of records. Dropped and rejected ones are lost to the database.",
            metric(f"sum by (result) (rate(tollgate_ledger_records_total{OF}{RATE}))", "{{result}}"),
            unit=words.PER_SECOND, width=8, stacked=True), RECORD_COLOURS),
        series("Time of a commit", "How long the database takes for a batch.",
               *[metric(f"histogram_quantile({q}, {commit}) >= 0", name, ref)
                 for name, q, ref in (("p50", 0.5, "A"), ("p99", 0.99, "B"))],
               unit=words.SECONDS, width=8, empty="Nothing was committed in this range."),
        series("Failed writes", "Failed writes to the journal and failed transactions. Each is tried again.",
               metric(f"sum by (store) (rate(tollgate_ledger_errors_total{OF}{RATE})) * 3600", "{{store}}"),
               unit=words.PER_HOUR, width=8, bars=True, empty=NOTHING),
        series("Held in memory", "Journal entries that the disk refuses. A kill would take them.",
               metric(f"max by (instance) (tollgate_ledger_held_records{OF})", "{{instance}}"), unit=words.COUNT, width=8,
               empty=NOTHING),
        series("Size of the database", "Of tollgate.db with its write-ahead log.",
               metric(f"max by (instance) (tollgate_ledger_database_bytes{OF})", "{{instance}}"), unit=words.BYTES, width=8),
        series("Room on the disk", "What is free where the ledger lies.",
               metric(f"min by (instance) (tollgate_data_dir_free_bytes{OF})", "{{instance}}"), unit=words.BYTES, width=8,
               calcs=("min", "lastNotNull")),
        series("Kept payloads", "What became of requests whose bytes were to be kept.",
               metric(f"sum by (result) (rate(tollgate_payloads_total{OF}{RATE})) * 60", "{{result}}"),
               unit=words.PER_MINUTE, width=8, empty="`payloads.capture` is off."),
    ]  # fmt: skip


def _time():
    return [
        series("Overhead", "Tollgate's own time in a request: the total less every wait for the client or the upstream.",
               *[metric(_overhead(q), name, ref)
                 for name, q, ref in (("p50", 0.5, "A"), ("p99", 0.99, "B"), ("p99.9", 0.999, "C"))],
               unit=words.SECONDS, thresholds=words.OVERHEAD, empty=NO_TRAFFIC,
               links=[links.to(words.LATENCY, "Where the time goes")]),
        series("Processor by request", "Processor time of the whole process for each request that ended.",
               metric(f"{BY} (rate(process_cpu_seconds_total{OF}{RATE})) / {BY} (rate(tollgate_requests_total{OF}{RATE}))",
                      "{{instance}}"), unit=words.SECONDS, empty=NO_TRAFFIC),
    ]  # fmt: skip


def _process():
    # `up` is there for every target; a Tollgate is known by what it said within a day, as in alerts.yaml.
    known = f"present_over_time(tollgate_build_info{OF}[1d])"
    return [
        series("Resident memory", "What each process holds in memory. It does not grow with the ledger.", metric(f"max by (instance) (process_resident_memory_bytes{OF})",
               "{{instance}}"), unit=words.BYTES, width=6),
        series("Processor", "How many cores each process uses.",
               metric(f"{BY} (rate(process_cpu_seconds_total{OF}{RATE}))", "{{instance}}"), unit=words.COUNT, width=6),
        series("File descriptors", "The share of those allowed that are open: connections, mostly.",
               metric(f"max by (instance) (process_open_fds{OF} / process_max_fds{OF})", "{{instance}}"),
               unit=words.RATIO, width=6, thresholds=words.USED),
        series("Requests in flight", "Sent to a channel, and not ended.",
               metric(f"{BY} (tollgate_in_flight_requests{OF})", "{{instance}}"), unit=words.COUNT, width=6),
        states("Versions", "Which version runs where. A change is an upgrade; a gap is a Tollgate that was not scraped.",
               metric(f"max by (instance, version, revision) (tollgate_build_info{OF})", "{{instance}}: {{version}}"),
               width=12, mappings=[words_for({"1": ("runs", words.GREEN)})]),
        series("Threads", "Of each process. They do not grow with requests.",
               metric(f"max by (instance) (process_threads{OF})", "{{instance}}"), unit=words.COUNT, width=6, height=6),
        series("Restarts", "Where a process began anew.",
               metric(f"{BY} (changes(process_start_time_seconds{OF}{RATE}))", "{{instance}}"),
               unit=words.COUNT, width=6, height=6, bars=True, calcs=("max",)),
        states("Scraped", "Whether Prometheus could read this Tollgate's metrics. Red: it is down, or its admin port "
               "is not to be reached; then nothing else here is new.",
               metric(f"min by (instance) (up{OF} and on (instance, job) {known})", "{{instance}}"),
               width=12, mappings=[words_for({"1": ("yes", words.GREEN), "0": ("no", words.RED)})]),
        series("Time of a scrape", "How long Prometheus takes to read the metrics.",
               metric(_scrape("scrape_duration_seconds"), "{{instance}}"), unit=words.SECONDS, width=6, height=6),
        series("Samples of a scrape", "How many series there are. They grow with channels, models, rules and "
               "receivers; `metrics.max_models` bounds them.",
               metric(_scrape("scrape_samples_scraped"), "{{instance}}"), unit=words.COUNT, width=6, height=6),
    ]  # fmt: skip


def _scrape(what: str) -> str:
    """Prometheus says this of every target; only those of Tollgate are meant."""
    return f"max by (instance) ({what}{OF} and on (instance, job) tollgate_build_info{OF})"


def _settings():
    mapped = [words_for({"1": ("good", words.GREEN), "0": ("refused", words.RED)})]
    never = "No price files and no catalogue are set, or nothing was read again."
    return [
        states("Settings over time", "Whether the files were good when they were last read.",
               metric(f"min by (instance) (tollgate_config_reload_success{OF})", "{{instance}}"), width=8, mappings=mapped),
        states("Prices over time", "Whether the price files and the catalogue were good when they were last read.",
               metric(f"min by (instance) (tollgate_prices_file_reload_success{OF})", "{{instance}}: files"),
               metric(f"min by (instance) (tollgate_prices_refresh_success{OF})", "{{instance}}: catalogue", "B"),
               width=8, mappings=mapped, empty=never),
        stat("Settings read", "When the settings and rules were last read and good. An edit that came later is not in "
             "force.", metric_now(f"min(tollgate_config_reload_timestamp_seconds{OF}) * 1000", "read"),
             unit=words.MOMENT, width=4, height=6),
        stat("Certificate ends in", "Of the certificate in front of the clients that ends first. Renew it in the files "
             "that `tls` names.",
             metric_now(f"min(tollgate_tls_certificate_expiry_timestamp_seconds{OF} - time())", "left"),
             unit=words.SECONDS, width=4, height=6, thresholds=words.CERTIFICATE, empty="No TLS in front of clients."),
        series("Price files and catalogue", "What came of reading prices again: refused ones left the prices before in use.",
               metric(f"sum by (result) (rate(tollgate_prices_file_reloads_total{OF}{RATE})) * 3600",
                      "files {{result}}"),
               metric(f"sum by (result) (rate(tollgate_prices_refreshes_total{OF}{RATE})) * 3600",
                      "catalogue {{result}}", "B"),
               unit=words.PER_HOUR, width=8, height=6, bars=True, empty=never),
        series("Folded labels", "Requests counted under `other`: too many models, or a name that nobody answers to.",
               metric(f"sum by (label) (rate(tollgate_folded_labels_total{OF}{RATE})) * 60", "{{label}}"),
               unit=words.PER_MINUTE, width=8, height=6, empty=NOTHING),
        series("Notifications waiting", "The queue: within a receiver's limits, or because a receiver fails.",
               metric(f"max by (instance) (tollgate_notification_queue{OF})", "{{instance}}"),
               unit=words.COUNT, width=8, height=6, thresholds=words.steps(10, 100),
               links=[links.to(words.BUDGETS, "Who was not told")]),
    ]  # fmt: skip
