"""What Tollgate's metrics would have been over a day, as blocks of Prometheus' storage."""

import math
import os
import subprocess
import tempfile

SCRAPE = 30  # seconds
HOURS = 26
BLOCK = 2 * 3600  # seconds: what a block of promtool's holds
INSTANCE = 'instance="127.0.0.1:8081",job="tollgate"'

CHANNELS = ["openai", "azure-eu", "anthropic", "gemini", "spare"]
MODELS = [f"model-{number}" for number in range(13)]
APIS = {"openai": "chat", "azure-eu": "responses", "anthropic": "messages", "gemini": "gemini", "spare": "chat"}
# Counters of a few series, each with its labels.
FEW = [
    ("channel_transitions_total", 'channel="openai",to="closed",reason="quota_exhausted"'),
    ("folded_labels_total", 'label="model"'),
    ("ledger_errors_total", 'store="journal"'),
    ("ledger_errors_total", 'store="database"'),
    ("ledger_records_total", 'result="written"'),
    ("ledger_records_total", 'result="dropped"'),
    ("notification_failures_total", 'receiver="telegram",reason="timeout"'),
    ("notifications_total", 'receiver="telegram",result="sent"'),
    ("notifications_total", 'receiver="telegram",result="merged"'),
    ("payloads_total", 'result="written"'),
    ("prices_file_reloads_total", 'result="updated"'),
    ("prices_refreshes_total", 'result="unchanged"'),
    ("rule_blocked_requests_total", 'rule="day",mode="enforce"'),
    ("rule_blocked_requests_total", 'rule="burst",mode="shadow"'),
]
# Gauges without labels of their own.
STANDING = [
    ("process_max_fds", 1024), ("process_open_fds", 90), ("process_resident_memory_bytes", 9e7),
    ("process_start_time_seconds", 1.79e9), ("process_threads", 12),
    ("tollgate_config_reload_success", 1), ("tollgate_config_reload_timestamp_seconds", 1.79e9),
    ("tollgate_data_dir_free_bytes", 5e10), ("tollgate_data_dir_size_bytes", 1e11),
    ("tollgate_ledger_database_bytes", 8e9), ("tollgate_ledger_held_records", 0),
    ("tollgate_ledger_journal_bytes", 1e6), ("tollgate_ledger_lag_seconds", 0.2),
    ("tollgate_notification_queue", 0),
]
OUTCOMES = ["ok", "client_closed", "rate_limited", "upstream_error"]
TOKENS = ["input", "input_cached", "output", "reasoning"]
PHASES = ["read_request", "admit", "connect", "wait", "first_byte", "first_token", "stream", "total", "overhead"]
# Upper bounds in seconds, about as many as Tollgate has.
DURATION = [0.01 * 2**n for n in range(17)]
FIRST_TOKEN = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80]
PER_TOKEN = [0.001, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5]
COMMIT = [0.001 * 2**n for n in range(14)]
PHASE = [5e-05, 0.0001, 0.00025, 0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]


def histogram(name, labels, bounds, rate, mean):
    """The series of a histogram whose observations spread around `mean` over some octaves."""
    comma = "," if labels else ""
    for bound in bounds:
        share = 1 / (1 + (mean / bound) ** 2)
        yield f'{name}_bucket{{{labels}{comma}{INSTANCE},le="{bound:g}"}}', rate * share
    yield f'{name}_bucket{{{labels}{comma}{INSTANCE},le="+Inf"}}', rate
    yield f"{name}_count{{{labels}{comma}{INSTANCE}}}", rate
    yield f"{name}_sum{{{labels}{comma}{INSTANCE}}}", rate * mean


def counters():
    """Every series that grows: its name with labels, and by how much a second."""
    for place, channel in enumerate(CHANNELS):
        for number, model in enumerate(MODELS):
            of = f'channel="{channel}",model="{model}",api="{APIS[channel]}"'
            rate = 0.2 / (1 + place + number / 4)
            mean = 1.5 + number
            yield from histogram("tollgate_request_duration_seconds", of, DURATION, rate, mean)
            yield from histogram("tollgate_time_to_first_token_seconds", of, FIRST_TOKEN, rate, mean / 3)
            yield from histogram("tollgate_time_per_output_token_seconds", of, PER_TOKEN, rate, 0.03 + number / 200)
            for share, outcome in enumerate(OUTCOMES):
                yield f'tollgate_requests_total{{{of},outcome="{outcome}",{INSTANCE}}}', rate / 30**share
            for kind in TOKENS:
                yield f'tollgate_tokens_total{{{of},type="{kind}",source="reported",{INSTANCE}}}', rate * 900
            yield f'tollgate_cost_usd_total{{{of},source="reported",{INSTANCE}}}', rate * 0.004
        for number, phase in enumerate(PHASES):
            of = f'channel="{channel}",phase="{phase}"'
            yield from histogram("tollgate_phase_duration_seconds", of, PHASE, 0.8, 0.0002 * 3**number)
        for result in OUTCOMES:
            yield f'tollgate_upstream_attempts_total{{channel="{channel}",result="{result}",{INSTANCE}}}', 0.3
    yield from histogram("tollgate_overhead_seconds", "", PHASE, 4.0, 0.0003)
    yield from histogram("tollgate_ledger_commit_seconds", "", COMMIT, 1.0, 0.004)
    for name, labels in FEW:
        yield f"tollgate_{name}{{{labels},{INSTANCE}}}", 0.01
    yield f"process_cpu_seconds_total{{{INSTANCE}}}", 0.03
    for model in MODELS:
        yield f'tollgate_unpriced_requests_total{{model="{model}",{INSTANCE}}}', 0.0001
        yield f'tollgate_usage_missing_total{{api="chat",reason="{model}",{INSTANCE}}}', 0.0001


def gauges():
    """Every series that stands: its name with labels, and about where."""
    yield f'tollgate_build_info{{version="0.1.0",revision="bench",{INSTANCE}}}', 1
    for channel in CHANNELS:
        yield f'tollgate_channel_open{{channel="{channel}",{INSTANCE}}}', 1
        yield f'tollgate_in_flight_requests{{channel="{channel}",{INSTANCE}}}', 7
        for kind in ["requests", "tokens"]:
            yield f'tollgate_channel_ratelimit_remaining{{channel="{channel}",kind="{kind}",{INSTANCE}}}', 800
            yield f'tollgate_channel_ratelimit_limit{{channel="{channel}",kind="{kind}",{INSTANCE}}}', 1000
    for rule in ["day", "month", "burst"]:
        for name, value in [("used", 40), ("limit", 100), ("reserved", 2), ("remaining", 58), ("forecast", 90)]:
            yield f'tollgate_budget_{name}{{rule="{rule}",scope="all",unit="usd",{INSTANCE}}}', value
        yield f'tollgate_budget_overshoot_bound{{rule="{rule}",unit="usd",{INSTANCE}}}', 3
        yield f'tollgate_rule_health{{rule="{rule}",{INSTANCE}}}', 1
        yield f'tollgate_alerts{{rule="{rule}",severity="warning",state="firing",{INSTANCE}}}', 1
    for window in ["5h", "7d"]:
        yield f'tollgate_quota_used_ratio{{account="anthropic",window="{window}",{INSTANCE}}}', 0.4
    yield f'tollgate_new_api_synced{{channel="openai",{INSTANCE}}}', 1
    for name, value in STANDING:
        yield f"{name}{{{INSTANCE}}}", value
    yield "up{" + INSTANCE + "}", 1


def make(folder, until):
    """Writes blocks up to the moment `until` (seconds since 1970); how many series there are."""
    growing, standing = list(counters()), list(gauges())
    os.makedirs(folder, exist_ok=True)
    begin = (until - HOURS * 3600) // BLOCK * BLOCK
    for first in range(begin, until, BLOCK):
        moments = range(first, min(first + BLOCK, until), SCRAPE)
        with tempfile.NamedTemporaryFile("w", suffix=".om", dir=folder) as text:
            # More by day than by night, and never less than before.
            grown = [(at, at - begin + 7000 * math.sin(at / 13751)) for at in moments]
            for name, rate in growing:
                whole = "_sum{" not in name and "_usd_" not in name
                for at, units in grown:
                    value = rate * units + 1e5
                    text.write(f"{name} {int(value) if whole else value} {at}\n")
            for name, value in standing:
                for at in moments:
                    text.write(f"{name} {value} {at}\n")
            text.write("# EOF\n")
            text.flush()
            command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", text.name, folder]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return len(growing) + len(standing)
