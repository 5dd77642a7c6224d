//! What a journal entry's payload is: one version byte, then [postcard](https://postcard.jamesmunns.com/wire-format)
//! of an admission, of an ended request, of a change of a channel's gate or of an alert, of a
//! notification or its fate, or of an answer from a chat.
//!
//! Writing borrows the record. Reading borrows from the bytes read, so that a row costs no
//! allocation for its dozen texts; that is why the views below repeat the fields of
//! [`Admission`] and [`RequestRecord`]. Postcard names no fields: the order and the types here must
//! be those of `record`, and any change there needs a new [`VERSION`] and views for the old one
//! (a test pins the bytes of this one).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alert::{
    ActionTaken, AlertEvent, AlertId, ChatAnswer, Labels, Notification, NotificationFate,
};
use crate::clock::UnixMicros;
use crate::money::NanoUsd;
use crate::record::{
    Admission, Api, Attempt, ChannelEvent, Deferral, Disposition, ErrorSource, Estimate, Outcome,
    Owner, Phases, RequestId, RequestRecord, Source, Usage, Worst,
};

/// The newest layout of the payloads this program reads and writes.
pub(super) const VERSION: u8 = 4;

/// The oldest: requests, gates and alerts, with the same bytes in the newest.
const OLDEST: u8 = 3;

/// Whether a payload that begins with this byte may be one to read.
pub(super) const fn is_known(version: u8) -> bool {
    OLDEST <= version && version <= VERSION
}

/// An entry to write.
#[derive(Clone, Copy, Serialize)]
pub(super) enum EntryRef<'a> {
    /// A request goes to an upstream.
    Admitted(&'a Admission),
    /// A request ended.
    Ended(&'a RequestRecord),
    /// A channel's gate changed.
    Gate(&'a ChannelEvent),
    /// An alert changed.
    Alert(&'a AlertEvent),
    /// Somebody is to be told something.
    Notification(&'a Notification),
    /// It is known what became of that.
    Fate(&'a NotificationFate),
    /// Somebody answered from a chat.
    Answer(&'a ChatAnswer),
}

impl EntryRef<'_> {
    /// The oldest layout that has it. During an upgrade a process of the version before may still
    /// have the writer's role and read what this one appends: what it can read, it shall.
    const fn version(self) -> u8 {
        match self {
            Self::Admitted(_) | Self::Ended(_) | Self::Gate(_) | Self::Alert(_) => OLDEST,
            Self::Notification(_) | Self::Fate(_) | Self::Answer(_) => VERSION,
        }
    }
}

/// An entry read.
#[derive(Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for one entry; a box would cost an allocation a row"
)]
pub(super) enum Entry<'a> {
    /// A request goes to an upstream.
    #[serde(borrow)]
    Admitted(AdmissionView<'a>),
    /// A request ended.
    #[serde(borrow)]
    Ended(RecordView<'a>),
    /// A channel's gate changed: too rarely to borrow.
    Gate(ChannelEvent),
    /// An alert changed: likewise.
    Alert(AlertEvent),
    /// Somebody is to be told something: likewise.
    Notification(Notification),
    /// It is known what became of that: likewise.
    Fate(NotificationFate),
    /// Somebody answered from a chat: likewise.
    Answer(ChatAnswer),
}

/// [`Admission`], borrowed from a payload.
#[derive(Debug, Deserialize)]
pub(super) struct AdmissionView<'a> {
    pub(super) id: RequestId,
    pub(super) started_at: UnixMicros,
    pub(super) channel: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    pub(super) api: Api,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) requested_model: Option<&'a str>,
    pub(super) stream: Option<bool>,
    pub(super) request_bytes: u64,
    pub(super) session: Option<&'a str>,
    pub(super) end_user: Option<&'a str>,
    /// A map and a list of pairs are the same bytes.
    #[serde(borrow)]
    pub(super) tags: Vec<(&'a str, &'a str)>,
    pub(super) billable: bool,
    pub(super) worst: Option<Worst>,
    pub(super) interrupted_cost: Option<NanoUsd>,
}

/// [`RequestRecord`], borrowed from a payload.
#[derive(Debug, Deserialize)]
pub(super) struct RecordView<'a> {
    #[serde(borrow)]
    pub(super) admission: AdmissionView<'a>,
    pub(super) served_model: Option<&'a str>,
    pub(super) service_tier: Option<&'a str>,
    pub(super) status: Option<u16>,
    pub(super) outcome: Outcome,
    pub(super) error_source: Option<ErrorSource>,
    pub(super) error_code: Option<&'a str>,
    pub(super) error_message: Option<&'a str>,
    #[serde(borrow)]
    pub(super) attempts: Vec<AttemptView<'a>>,
    pub(super) usage: Usage,
    #[serde(borrow)]
    pub(super) cost: Option<CostView<'a>>,
    pub(super) phases: Phases,
    pub(super) response_bytes: u64,
    pub(super) upstream_request_id: Option<&'a str>,
    pub(super) source: Source,
    pub(super) response_id: Option<&'a str>,
    pub(super) deferral: Option<Deferral>,
    pub(super) estimate: Option<Estimate>,
    pub(super) delivered_output_tokens: Option<u64>,
    pub(super) upstream_bytes: Option<u64>,
    pub(super) priced_at: Option<UnixMicros>,
    pub(super) assumed_cost: Option<NanoUsd>,
}

impl RecordView<'_> {
    /// Whether the usage of what it made is still to be told, under its response id.
    pub(super) fn awaits_usage(&self) -> bool {
        let (api, is_named) = (self.admission.api, self.response_id.is_some());
        self.disposition().awaits_usage(api, is_named)
    }

    /// What says whether it is one for rules.
    pub(super) const fn disposition(&self) -> Disposition {
        Disposition {
            outcome: self.outcome,
            billable: self.admission.billable,
            deferral: self.deferral,
        }
    }
}

/// [`Attempt`], borrowed from a payload.
#[derive(Debug, Deserialize)]
pub(super) struct AttemptView<'a> {
    pub(super) channel: &'a str,
    pub(super) started_at: UnixMicros,
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) error_code: Option<&'a str>,
    pub(super) connect_us: Option<u64>,
    pub(super) wait_us: Option<u64>,
}

/// [`crate::record::Cost`], borrowed from a payload.
#[derive(Debug, Deserialize)]
pub(super) struct CostView<'a> {
    pub(super) amount: NanoUsd,
    pub(super) price_version: &'a str,
}

/// Why a payload is no entry, although its checksum is right.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    /// Another version's layout.
    #[error("entry of layout version {0}, this program reads versions {OLDEST} to {VERSION}")]
    Version(u8),
    /// Not what the layout says.
    #[error("malformed entry: {0}")]
    Malformed(#[from] postcard::Error),
    /// More bytes than the layout says.
    #[error("malformed entry: {0} bytes too many")]
    Trailing(usize),
    /// No bytes at all.
    #[error("malformed entry: empty")]
    Empty,
}

/// Appends the payload of `entry` to `buffer`.
pub(super) fn encode(entry: EntryRef<'_>, buffer: &mut Vec<u8>) -> Result<(), postcard::Error> {
    buffer.push(entry.version());
    *buffer = postcard::to_extend(&entry, std::mem::take(buffer))?;
    Ok(())
}

/// The entry that `payload` holds.
pub(super) fn decode(payload: &[u8]) -> Result<Entry<'_>, DecodeError> {
    let (entry, rest) = postcard::take_from_bytes(body(payload)?)?;
    if rest.is_empty() {
        Ok(entry)
    } else {
        Err(DecodeError::Trailing(rest.len()))
    }
}

/// What the writer needs of an entry: an admission is only its id until a crash makes a row of it.
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for one entry; a box would cost an allocation a row"
)]
pub(super) enum Brief<'a> {
    /// An admission's id.
    Admitted(RequestId),
    /// A whole record.
    Ended(RecordView<'a>),
    /// A whole event of a gate.
    Gate(ChannelEvent),
    /// A whole event of an alert.
    Alert(AlertEvent),
    /// A whole notification.
    Notification(Notification),
    /// A whole fate of one.
    Fate(NotificationFate),
    /// A whole answer.
    Answer(ChatAnswer),
}

/// The entry that `payload` holds, an admission's details unread.
pub(super) fn decode_brief(payload: &[u8]) -> Result<Brief<'_>, DecodeError> {
    match body(payload)? {
        // The enum's first variant, then the struct's first field.
        [0, admission @ ..] => Ok(Brief::Admitted(postcard::take_from_bytes(admission)?.0)),
        _ => match decode(payload)? {
            Entry::Admitted(admission) => Ok(Brief::Admitted(admission.id)),
            Entry::Ended(record) => Ok(Brief::Ended(record)),
            Entry::Gate(event) => Ok(Brief::Gate(event)),
            Entry::Alert(event) => Ok(Brief::Alert(event)),
            Entry::Notification(notification) => Ok(Brief::Notification(notification)),
            Entry::Fate(fate) => Ok(Brief::Fate(fate)),
            Entry::Answer(answer) => Ok(Brief::Answer(answer)),
        },
    }
}

fn body(payload: &[u8]) -> Result<&[u8], DecodeError> {
    match payload {
        [version, body @ ..] if is_known(*version) => Ok(body),
        [version, ..] => Err(DecodeError::Version(*version)),
        [] => Err(DecodeError::Empty),
    }
}

/// Longest text, in bytes, that is left in an entry too large to be written.
const CUT_TEXT: usize = 1024;
/// Most tags and attempts that are left in an entry too large to be written.
const CUT_ITEMS: usize = 64;

/// An admission whose payload is too large, with its texts cut: the request keeps its row.
pub(super) fn cut_admission(admission: &Admission) -> Admission {
    let cut = |text: &Option<Arc<str>>| text.as_deref().map(|text| cut_text(text).into());
    Admission {
        channel: cut(&admission.channel),
        key: cut(&admission.key),
        method: cut_text(&admission.method).into(),
        path: cut_text(&admission.path).into(),
        requested_model: cut(&admission.requested_model),
        session: cut(&admission.session),
        end_user: cut(&admission.end_user),
        tags: admission
            .tags
            .iter()
            .take(CUT_ITEMS)
            .map(|(name, value)| (cut_text(name).to_owned(), cut_text(value).to_owned()))
            .collect(),
        ..*admission
    }
}

/// A record whose payload is too large, with its texts cut: the request keeps its row.
pub(super) fn cut_record(record: &RequestRecord) -> RequestRecord {
    let cut = |text: &Option<Arc<str>>| text.as_deref().map(|text| cut_text(text).into());
    RequestRecord {
        admission: cut_admission(&record.admission),
        served_model: cut(&record.served_model),
        service_tier: cut(&record.service_tier),
        error_code: cut(&record.error_code),
        error_message: cut(&record.error_message),
        attempts: record
            .attempts
            .iter()
            .take(CUT_ITEMS)
            .map(|attempt| Attempt {
                channel: cut_text(&attempt.channel).into(),
                error_code: cut(&attempt.error_code),
                ..*attempt
            })
            .collect(),
        cost: record.cost.as_ref().map(|cost| crate::record::Cost {
            amount: cost.amount,
            price_version: cut_text(&cost.price_version).into(),
        }),
        upstream_request_id: cut(&record.upstream_request_id),
        response_id: cut(&record.response_id),
        ..*record
    }
}

/// An event whose payload is too large, with its texts cut.
pub(super) fn cut_event(event: &ChannelEvent) -> ChannelEvent {
    let cut = |text: &Option<Arc<str>>| text.as_deref().map(|text| cut_text(text).into());
    ChannelEvent {
        channel: cut_text(&event.channel).into(),
        owner: match &event.owner {
            Owner::Alert(name) => Owner::Alert(cut_text(name).into()),
            owner => owner.clone(),
        },
        who: cut(&event.who),
        note: cut(&event.note),
        ..*event
    }
}

/// An alert's event whose payload is too large, with its texts cut.
pub(super) fn cut_alert_event(event: &AlertEvent) -> AlertEvent {
    let labels = event.alert.labels.iter().take(CUT_ITEMS);
    AlertEvent {
        alert: AlertId {
            rule: cut_text(&event.alert.rule).into(),
            labels: Labels::new(
                labels.map(|(name, value)| (cut_text(name).into(), cut_text(value).into())),
            ),
        },
        actions: event
            .actions
            .iter()
            .take(CUT_ITEMS)
            .map(|taken| ActionTaken {
                action: cut_text(&taken.action).into(),
                done: taken.done,
                until: taken.until,
                detail: cut_text(&taken.detail).into(),
            })
            .collect(),
        ..*event
    }
}

/// A notification whose payload is too large, with its texts cut: it keeps its row and can be told by
/// its title. Content, or what was told, goes as a whole: JSON that is cut is none.
pub(super) fn cut_notification(notification: &Notification) -> Notification {
    let whole_or_none = |json: &Arc<str>| {
        if json.len() > Notification::MOST_BYTES {
            "".into()
        } else {
            Arc::clone(json)
        }
    };
    Notification {
        receiver: cut_text(&notification.receiver).into(),
        group: cut_text(&notification.group).into(),
        title: cut_text(&notification.title).into(),
        content: whole_or_none(&notification.content),
        told: whole_or_none(&notification.told),
        ..*notification
    }
}

/// A fate whose payload is too large, with its texts cut.
pub(super) fn cut_fate(fate: &NotificationFate) -> NotificationFate {
    let cut = |text: &Option<Arc<str>>| text.as_deref().map(|text| cut_text(text).into());
    NotificationFate {
        reference: cut(&fate.reference),
        error: cut(&fate.error),
        ..*fate
    }
}

/// An answer whose payload is too large, with its texts cut.
pub(super) fn cut_answer(answer: &ChatAnswer) -> ChatAnswer {
    ChatAnswer {
        receiver: cut_text(&answer.receiver).into(),
        who: cut_text(&answer.who).into(),
        asked: cut_text(&answer.asked).into(),
        subject: cut_text(&answer.subject).into(),
        outcome: cut_text(&answer.outcome).into(),
        ..*answer
    }
}

fn cut_text(text: &str) -> &str {
    let mut end = CUT_TEXT.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{
        self, AlertState, Mode, NotificationKind, NotificationResult, NotifyReason, Quantity,
        Severity,
    };
    use crate::record::{
        Cost, GateReason, GateState, Phase, TokenType, Tokens, Unit, Units, UsageSource,
    };

    fn payload(entry: EntryRef<'_>) -> Vec<u8> {
        let mut payload = Vec::new();
        encode(entry, &mut payload).unwrap();
        payload
    }

    fn record() -> RequestRecord {
        let mut tokens = Tokens::default();
        tokens[TokenType::Output] = Some(300);
        let mut units = Units::default();
        units[Unit::Image] = Some(2);
        let mut phases = Phases::default();
        phases[Phase::Total] = Some(1);
        RequestRecord {
            admission: Admission {
                id: "018bcfe5-687b-7000-8000-000000000001".parse().unwrap(),
                started_at: UnixMicros(-1),
                channel: Some("c".into()),
                key: None,
                api: Api::Responses,
                method: "POST".into(),
                path: "/".into(),
                requested_model: Some("m".into()),
                stream: Some(true),
                request_bytes: 128,
                session: Some("s".into()),
                end_user: None,
                tags: [("k".to_owned(), "v".to_owned())].into(),
                billable: true,
                worst: Some(Worst {
                    cost: None,
                    input_cost: Some(NanoUsd(4)),
                    input_tokens: Some(5),
                    output_tokens: None,
                }),
                interrupted_cost: Some(NanoUsd(6)),
            },
            served_model: Some("n".into()),
            service_tier: None,
            status: Some(200),
            outcome: Outcome::Internal,
            error_source: Some(ErrorSource::Internal),
            error_code: None,
            error_message: Some("e".into()),
            attempts: vec![Attempt {
                channel: "c".into(),
                started_at: UnixMicros(1),
                outcome: Outcome::Timeout,
                status: None,
                error_code: Some("x".into()),
                connect_us: Some(2),
                wait_us: None,
            }],
            usage: Usage {
                tokens,
                units,
                total: Some(300),
                source: UsageSource::None,
            },
            cost: Some(Cost {
                amount: NanoUsd(-2),
                price_version: "p".into(),
            }),
            phases,
            response_bytes: 7,
            upstream_request_id: Some("r".into()),
            source: Source::Proxy,
            response_id: Some("i".into()),
            deferral: Some(Deferral::Settled),
            estimate: Some(Estimate {
                input_tokens: Some(1),
                output_tokens: None,
                cost: Some(NanoUsd(1)),
            }),
            delivered_output_tokens: Some(5),
            upstream_bytes: None,
            priced_at: Some(UnixMicros(-3)),
            assumed_cost: Some(NanoUsd(9)),
        }
    }

    fn event() -> ChannelEvent {
        ChannelEvent {
            at: UnixMicros(-1),
            channel: "c".into(),
            owner: Owner::Alert("a".into()),
            hold: GateState::Probing,
            state: GateState::Closed,
            reason: GateReason::Recovered,
            until: Some(UnixMicros(1)),
            who: None,
            note: Some("n".into()),
        }
    }

    fn alert_event() -> AlertEvent {
        AlertEvent {
            at: UnixMicros(-1),
            alert: AlertId {
                rule: "r".into(),
                labels: Labels::new([("c".into(), "a".into())]),
            },
            state: AlertState::Firing,
            severity: Some(Severity::Critical),
            active_since: Some(UnixMicros(2)),
            fired_at: None,
            cleared_since: None,
            critical_since: Some(UnixMicros(5)),
            critical_cleared_since: None,
            told: true,
            value: Some(Quantity {
                unit: alert::Unit::Usd,
                value: 3,
            }),
            limit: Some(Quantity {
                unit: alert::Unit::Tokens,
                value: 4,
            }),
            window_end: Some(UnixMicros(5)),
            mode: Mode::Enforce,
            actions: vec![ActionTaken {
                action: "block".into(),
                done: true,
                until: None,
                detail: "d".into(),
            }],
        }
    }

    fn notification() -> Notification {
        Notification {
            id: uuid::Uuid::from_u128(0x018b_cfe5_687b_7000_8000_0000_0000_0001),
            at: UnixMicros(-1),
            receiver: "r".into(),
            kind: NotificationKind::Digest,
            reason: NotifyReason::Resolved,
            group: "g".into(),
            title: "t".into(),
            deadline: UnixMicros(2),
            content: "{}".into(),
            told: "1".into(),
        }
    }

    fn fate() -> NotificationFate {
        NotificationFate {
            id: notification().id,
            at: UnixMicros(-2),
            result: NotificationResult::Dead,
            attempts: 300,
            reference: Some("7".into()),
            by: Some(notification().id),
            error: Some("e".into()),
        }
    }

    fn answer() -> ChatAnswer {
        ChatAnswer {
            at: UnixMicros(-2),
            receiver: "r".into(),
            who: "w".into(),
            asked: "a".into(),
            subject: "s".into(),
            done: true,
            outcome: "o".into(),
            nonce: Some(u64::MAX),
            expires_at: Some(UnixMicros(3)),
        }
    }

    /// The journal of a running sidecar is read by the next version of it. Where this fails, the
    /// layout has changed: that takes a new [`VERSION`], and reading both.
    #[test]
    fn versions_3_and_4_are_these_bytes() {
        let record = record();
        let id = "018bcfe5687b70008000000000000001";
        let admission = format!(
            "10{id}01010163000104504f5354012f01016d010180010101730001016b0176010100010801050001\
             0c"
        );
        let hex = |payload: Vec<u8>| crate::ledger::rejected::hex(&payload);
        assert_eq!(
            hex(payload(EntryRef::Admitted(&record.admission))),
            format!("0300{admission}")
        );
        assert_eq!(
            hex(payload(EntryRef::Ended(&record))),
            format!(
                "0301{admission}01016e0001c8010b0102000101650101630204000101780102000000\
                 0001ac020000000000\
                 0000010200000000\
                 01ac020401030170000000000000000101000701017200\
                 01016901010101010001020105\
                 0001050112"
            )
        );
        assert_eq!(
            hex(payload(EntryRef::Gate(&event()))),
            "0302010163".to_owned() + "07616c6572743a61" + "010206" + "0102" + "00" + "01016e"
        );
        assert_eq!(
            hex(payload(EntryRef::Alert(&alert_event()))),
            "03030101720101630161".to_owned()
                + "020101"
                + "0104"
                + "00"
                + "00"
                + "010a"
                + "00"
                + "010006"
                + "010108"
                + "010a"
                + "02"
                + "01"
                + "0105626c6f636b01000164"
        );
        let id = format!("10{id}");
        assert_eq!(
            hex(payload(EntryRef::Notification(&notification()))),
            format!("0404{id}01")
                + "0172"
                + "02"
                + "04"
                + "0167"
                + "0174"
                + "04"
                + "027b7d"
                + "0131"
        );
        assert_eq!(
            hex(payload(EntryRef::Fate(&fate()))),
            format!("0405{id}03") + "03" + "ac02" + "010137" + &format!("01{id}") + "010165"
        );
        assert_eq!(
            hex(payload(EntryRef::Answer(&answer()))),
            "040603".to_owned()
                + "0172"
                + "0177"
                + "0161"
                + "0173"
                + "01"
                + "016f"
                + "01ffffffffffffffffff01"
                + "0106"
        );
    }

    #[test]
    fn every_entry_is_read_in_its_own_version_and_in_the_newest() {
        for entry in [
            EntryRef::Admitted(&record().admission),
            EntryRef::Ended(&record()),
            EntryRef::Gate(&event()),
            EntryRef::Alert(&alert_event()),
            EntryRef::Notification(&notification()),
            EntryRef::Fate(&fate()),
            EntryRef::Answer(&answer()),
        ] {
            let mut written = payload(entry);
            assert!(decode(&written).is_ok() && decode_brief(&written).is_ok());
            written[0] = VERSION;
            assert!(decode(&written).is_ok() && decode_brief(&written).is_ok());
            for other in [OLDEST - 1, VERSION + 1] {
                written[0] = other;
                assert!(
                    matches!(decode(&written), Err(DecodeError::Version(found)) if found == other)
                );
            }
        }
    }

    #[test]
    fn a_notification_its_fate_and_an_answer_are_read_as_they_were_written() {
        let kept = payload(EntryRef::Notification(&notification()));
        assert!(
            matches!(decode_brief(&kept), Ok(Brief::Notification(read)) if read == notification())
        );
        let settled = payload(EntryRef::Fate(&fate()));
        assert!(matches!(decode_brief(&settled), Ok(Brief::Fate(read)) if read == fate()));
        let answered = payload(EntryRef::Answer(&answer()));
        assert!(matches!(decode_brief(&answered), Ok(Brief::Answer(read)) if read == answer()));
    }

    #[test]
    fn of_a_notification_that_is_too_large_all_that_fits_is_kept() {
        let text = |bytes: usize| Arc::from("x".repeat(bytes));
        let most = Notification::MOST_BYTES;
        let large = Notification {
            title: text(2 << 20),
            group: text(2 << 20),
            receiver: text(2 << 20),
            content: text(most),
            told: text(most),
            ..notification()
        };
        let cut = cut_notification(&large);
        assert_eq!((&cut.content, &cut.told), (&large.content, &large.told));
        let lengths = [&cut.title, &cut.group, &cut.receiver].map(|text| text.len());
        assert_eq!(lengths, [CUT_TEXT; 3]);
        assert!(payload(EntryRef::Notification(&cut)).len() <= 1 << 20);
        let larger = Notification {
            content: text(most + 1),
            ..large
        };
        let cut = cut_notification(&larger);
        assert_eq!((&*cut.content, cut.told.len()), ("", most));
    }

    #[test]
    fn a_gates_event_is_read_as_it_was_written() {
        let Ok(Brief::Gate(read)) = decode_brief(&payload(EntryRef::Gate(&event()))) else {
            panic!("not an event");
        };
        assert_eq!(read, event());
        let long = ChannelEvent {
            note: Some("x".repeat(CUT_TEXT + 1).into()),
            ..event()
        };
        assert_eq!(cut_event(&long).note.unwrap().len(), CUT_TEXT);
    }

    #[test]
    fn an_alerts_event_is_read_as_it_was_written() {
        let Ok(Brief::Alert(read)) = decode_brief(&payload(EntryRef::Alert(&alert_event()))) else {
            panic!("not an event");
        };
        assert_eq!(read, alert_event());
    }

    #[test]
    fn what_is_no_entry_is_told_apart() {
        let good = payload(EntryRef::Ended(&record()));
        assert!(matches!(decode(&good), Ok(Entry::Ended(_))));
        assert!(matches!(decode(&[]), Err(DecodeError::Empty)));
        assert!(matches!(decode(&[9, 0]), Err(DecodeError::Version(9))));
        assert!(matches!(
            decode(&good[..good.len() - 1]),
            Err(DecodeError::Malformed(_))
        ));
        let long = [good.as_slice(), &[0]].concat();
        assert!(matches!(decode(&long), Err(DecodeError::Trailing(1))));
    }

    #[test]
    fn an_admission_is_told_by_its_id_alone() {
        let record = record();
        let admitted = payload(EntryRef::Admitted(&record.admission));
        let Ok(Brief::Admitted(id)) = decode_brief(&admitted) else {
            panic!("not an admission");
        };
        assert_eq!(id, record.admission.id);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut_text("short"), "short");
        let long = format!("x{}", "é".repeat(CUT_TEXT));
        assert_eq!(cut_text(&long).len(), CUT_TEXT - 1);
    }
}
