//! What agrees, and what each difference is put down to.

use jiff::civil::date;

use super::*;

const DAY: Date = date(2026, 11, 10);

fn usd(text: &str) -> NanoUsd {
    text.parse().unwrap()
}

fn ledger(model: &str) -> LedgerUsage {
    LedgerUsage {
        day: DAY,
        model: Some(model.to_owned()),
        requests: 10,
        input_tokens: Some(1_000),
        output_tokens: Some(200),
        cost: Some(usd("0.00065")),
        ..LedgerUsage::default()
    }
}

fn billed(model: &str) -> BilledUsage {
    BilledUsage {
        day: DAY,
        model: Some(model.to_owned()),
        requests: 10,
        input_tokens: Some(1_000),
        output_tokens: Some(200),
        batch: false,
    }
}

fn item(line_item: &str, amount: &str) -> BilledItem {
    BilledItem {
        day: DAY,
        line_item: Some(line_item.to_owned()),
        amount: Amount::parse(amount).unwrap(),
    }
}

/// The bill of [`ledger`], item by item.
fn items(model: &str) -> Vec<BilledItem> {
    vec![
        item(&format!("{model}, input"), "0.00025"),
        item(&format!("{model}, output"), "0.0004"),
    ]
}

fn compare(ledger: &[LedgerUsage], bill: &Bill) -> Reconciliation {
    compare_by(ledger, bill, true, true)
}

fn compare_by(ledger: &[LedgerUsage], bill: &Bill, by_day: bool, by_model: bool) -> Reconciliation {
    let prices = PriceTable::builtin();
    let terms = Terms {
        prices: &prices,
        today: date(2026, 11, 20),
        one_project: false,
        by_day,
        by_model,
    };
    reconcile(ledger, bill, &terms)
}

/// The causes of one model's line when both sides are changed.
fn causes_of(change: impl Fn(&mut LedgerUsage, &mut Bill)) -> Vec<Cause> {
    let mut usage = ledger("gpt-5-mini-2025-08-07");
    let mut bill = Bill {
        usage: vec![billed("gpt-5-mini-2025-08-07")],
        items: items("gpt-5-mini-2025-08-07"),
    };
    change(&mut usage, &mut bill);
    let result = compare(&[usage], &bill);
    assert_eq!(result.lines.len(), 1, "{result:#?}");
    result.lines[0].causes.iter().copied().collect()
}

#[test]
fn what_agrees_has_no_cause() {
    assert_eq!(causes_of(|_, _| {}), []);
    // Rounding is no difference.
    assert_eq!(
        causes_of(|usage, _| usage.cost = Some(usd("0.000650007"))),
        []
    );
}

#[test]
fn requests_that_bill_nothing_are_no_difference() {
    assert_eq!(causes_of(|usage, _| usage.requests = 12), []);
}

#[test]
fn each_difference_has_its_cause() {
    use Cause::*;
    let fewer = |usage: &mut LedgerUsage| {
        usage.requests = 8;
        usage.input_tokens = Some(800);
        usage.cost = Some(usd("0.0006"));
    };
    assert_eq!(
        causes_of(|usage, _| fewer(usage)),
        [NotThroughTollgate, OtherProjects]
    );
    assert_eq!(
        causes_of(|usage, bill| {
            fewer(usage);
            bill.usage[0].batch = true;
        }),
        [Batch]
    );
    assert_eq!(
        causes_of(|usage, _| {
            usage.cost = Some(usd("0.0005"));
            usage.unpriced = 2;
        }),
        [Unpriced]
    );
    assert_eq!(
        causes_of(|usage, _| {
            usage.input_tokens = Some(900);
            usage.cost = Some(usd("0.0005"));
            usage.missing_usage = 1;
        }),
        [MissingUsage]
    );
    assert_eq!(
        causes_of(|usage, _| {
            usage.output_tokens = Some(150);
            usage.partial = 1;
            usage.estimated = 1;
        }),
        [Partial, Estimated]
    );
    assert_eq!(
        causes_of(|usage, _| usage.cost = Some(usd("0.0013"))),
        [PriceDiffers]
    );
    assert_eq!(
        causes_of(|usage, bill| {
            usage.cost = Some(usd("0.01065"));
            bill.items.push(item("web search tool calls", "0.01"));
        }),
        [FeesApart]
    );
    assert_eq!(
        causes_of(|usage, _| {
            usage.requests = 12;
            usage.input_tokens = Some(1_200);
        }),
        [NotBilled]
    );
    assert_eq!(
        causes_of(|usage, _| usage.output_tokens = Some(150)),
        [Unexplained]
    );
    assert_eq!(
        causes_of(|usage, bill| {
            let yesterday = date(2026, 11, 19);
            usage.day = yesterday;
            bill.usage[0].day = yesterday;
            bill.usage[0].requests = 4;
            bill.usage[0].input_tokens = Some(400);
            for item in &mut bill.items {
                item.day = yesterday;
            }
        }),
        [Delayed]
    );
}

#[test]
fn what_failed_when_the_provider_had_it_came_through_tollgate() {
    use Cause::*;
    let failed = |usage: &mut LedgerUsage, failed: u64| {
        usage.requests = 8;
        usage.failed = failed;
        usage.missing_usage = failed;
        usage.input_tokens = Some(800);
        usage.cost = Some(usd("0.0006"));
    };
    // Any number of them is on the bill.
    for count in [2, 5] {
        assert_eq!(
            causes_of(|usage, _| failed(usage, count)),
            [MissingUsage, Failed]
        );
    }
    assert_eq!(
        causes_of(|usage, _| failed(usage, 1)),
        [NotThroughTollgate, OtherProjects, MissingUsage, Failed]
    );
    // All that was used is known.
    assert_eq!(
        causes_of(|usage, _| {
            usage.requests = 8;
            usage.failed = 2;
        }),
        []
    );
}

#[test]
fn requests_around_midnight_are_recognised() {
    let next = date(2026, 11, 11);
    let mut usage = [ledger("gpt-5-mini"), ledger("gpt-5-mini")];
    usage[1].day = next;
    let mut bill = Bill {
        usage: vec![billed("gpt-5-mini"), billed("gpt-5-mini")],
        items: Vec::new(),
    };
    bill.usage[1].day = next;
    bill.usage[0].requests -= 1;
    bill.usage[0].input_tokens = Some(900);
    bill.usage[1].requests += 1;
    bill.usage[1].input_tokens = Some(1_100);
    for line in compare(&usage, &bill).lines {
        assert!(line.causes.contains(&Cause::DayBorder), "{line:?}");
        assert!(
            !line.causes.contains(&Cause::NotThroughTollgate),
            "{line:?}"
        );
    }
}

#[test]
fn names_are_put_together_as_prices_do() {
    let mut bill = Bill {
        usage: vec![billed("gpt-5-mini-2025-08-07")],
        items: vec![
            item("gpt-5-mini-2025-08-07, input", "0.00025"),
            item("priority | gpt-5-mini, output, long context", "0.0004"),
            // A model of its own that has an older model's name in front.
            item("gpt-4o-2024-05-13, input", "1"),
            item("house-model-7 image, output", "2"),
            item("web search tool calls", "0.02"),
            item("assistants api | file search", "0.03"),
        ],
    };
    bill.items.push(BilledItem {
        line_item: None,
        ..item("", "0.04")
    });
    let mut house = ledger("house-model-7");
    house.cost = Some(usd("2"));
    let result = compare(&[ledger("gpt-5-mini"), house], &bill);
    let line = |model: &str| {
        let found = result
            .lines
            .iter()
            .find(|line| line.model.as_deref() == Some(model));
        found.unwrap_or_else(|| panic!("{model}: {result:#?}"))
    };
    assert_eq!(line("gpt-5-mini").causes, BTreeSet::new());
    assert_eq!(line("gpt-4o-2024-05-13").bill.cost, Some(usd("1")));
    assert_eq!(line("house-model-7").bill.cost, Some(usd("2")));
    let unmapped: Vec<_> = result
        .unmapped
        .iter()
        .map(|item| (item.line_item.as_deref(), item.cost))
        .collect();
    assert_eq!(
        unmapped,
        [
            (None, usd("0.04")),
            (Some("assistants api | file search"), usd("0.03")),
            (Some("web search tool calls"), usd("0.02")),
        ]
    );
}

#[test]
fn lines_are_by_what_was_asked_for() {
    let mut other_day = ledger("gpt-5-mini");
    other_day.day = date(2026, 11, 9);
    let usage = [ledger("gpt-5-mini"), ledger("o3"), other_day];
    let bill = Bill {
        usage: vec![billed("o3")],
        items: vec![item("fee", "1"), item("fee", "0.5")],
    };
    let by = |day, model| {
        let result = compare_by(&usage, &bill, day, model);
        assert_eq!(result.total.ledger.requests, Some(30));
        assert_eq!(result.total.bill.requests, Some(10));
        assert_eq!(result.unmapped.len(), 1);
        assert_eq!(result.unmapped[0].cost, usd("1.5"));
        result.lines.len()
    };
    assert_eq!(by(true, true), 3);
    assert_eq!(by(true, false), 2);
    assert_eq!(by(false, true), 2);
    assert_eq!(by(false, false), 1);
}
