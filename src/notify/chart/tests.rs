use super::*;
use crate::notify::content::DigestFigures;

const HOUR_US: i64 = 3_600_000_000;

/// A digest of so many parts of so many hours, which begins at midnight of 2026-11-19 in Berlin.
fn digest(parts: &[(i64, u64)], before: &[(i64, u64)], hours: i64) -> DigestContent {
    let at: jiff::Timestamp = "2026-11-18T23:00:00Z".parse().unwrap();
    let since = UnixMicros::from(at);
    let count = i64::try_from(parts.len()).unwrap();
    let part = |begin: i64| {
        move |(at, &(cost, tokens)): (i64, &(i64, u64))| {
            (UnixMicros(begin + at * hours * HOUR_US), cost, tokens)
        }
    };
    let length = count * hours * HOUR_US;
    let earlier = (0..).zip(before).map(part(since.0 - length));
    DigestContent {
        name: "日报".into(),
        since,
        until: UnixMicros(since.0 + length),
        total: DigestFigures::default(),
        before: None,
        top: Vec::new(),
        errors: Vec::new(),
        budgets: Vec::new(),
        series: earlier.chain((0..).zip(parts).map(part(since.0))).collect(),
        links: Vec::new(),
    }
}

fn zone() -> TimeZone {
    TimeZone::get("Europe/Berlin").unwrap()
}

/// Nano-dollars and tokens.
type Parts = Vec<(i64, u64)>;

/// A day as there are many, and the day before.
fn day(scale: i64) -> (Parts, Parts) {
    let part = |cost: i64| (cost * scale, 1);
    let now = [
        12, 8, 3, 0, 0, 2, 9, 31, 88, 140, 155, 131, 90, 149, 201, 187, 160, 120, 77, 40, 36, 28,
        22, 15,
    ];
    let before = [
        10, 9, 4, 1, 0, 1, 12, 40, 70, 110, 128, 160, 101, 120, 140, 152, 133, 98, 60, 52, 30, 22,
        12, 9,
    ];
    (now.map(part).into(), before.map(part).into())
}

struct Decoded {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Decoded {
    fn of(png: &[u8]) -> Self {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        Self {
            width: info.width,
            height: info.height,
            pixels,
        }
    }

    fn count(&self, color: RGBColor) -> usize {
        let wanted = [color.0, color.1, color.2];
        self.pixels
            .chunks(3)
            .filter(|pixel| *pixel == wanted)
            .count()
    }
}

#[test]
fn a_picture_is_a_png_with_bars_and_a_line_and_always_the_same() {
    let (now, before) = day(3_000_000);
    let content = digest(&now, &before, 1);
    let png = digest_png(&content, Language::En, &zone()).unwrap();
    assert!(png.len() <= 100_000, "{} bytes", png.len());
    let decoded = Decoded::of(&png);
    assert_eq!((decoded.width, decoded.height), (800, 400));
    assert!(decoded.count(BAR) > 5_000);
    assert!(decoded.count(BEFORE) > 500);
    // Something is written.
    assert!(decoded.count(INK) > 50);
    assert_eq!(digest_png(&content, Language::En, &zone()).unwrap(), png);
    let (alone, zh) = (digest(&now, &[], 1), Language::Zh);
    let alone = Decoded::of(&digest_png(&alone, zh, &zone()).unwrap());
    assert_eq!(alone.count(BEFORE), 0);
}

#[test]
fn bars_are_as_high_as_what_they_show() {
    let content = digest(&[(1_000_000_000, 0), (500_000_000, 0)], &[], 24);
    let decoded = Decoded::of(&digest_png(&content, Language::En, &zone()).unwrap());
    let height = |x: usize| {
        let column = (0..usize::from(HEIGHT)).map(|y| (y * usize::from(WIDTH) + x) * 3);
        let bar = [BAR.0, BAR.1, BAR.2];
        column
            .filter(|&at| decoded.pixels[at..at + 3] == bar)
            .count()
    };
    let (whole, half) = (height(250), height(600));
    assert!(whole.abs_diff(half * 2) <= 2, "{whole} and {half}");
    assert!(whole >= usize::try_from(BOTTOM - TOP).unwrap() - 2);
}

#[test]
fn nothing_used_is_no_picture_and_tokens_stand_in_for_money() {
    for empty in [digest(&[], &[], 1), digest(&[(0, 0); 24], &[(5, 5); 24], 1)] {
        assert_eq!(digest_png(&empty, Language::En, &zone()), None);
    }
    let tokens = digest(&[(0, 5_000); 7], &[], 24);
    assert!(digest_png(&tokens, Language::En, &zone()).is_some());
}

#[test]
fn the_ends_of_the_scale_can_be_drawn() {
    for part in [(1, 0), (i64::MAX, u64::MAX), (i64::MIN, u64::MAX)] {
        for count in [1, 2, 62, 1_000] {
            let content = digest(&vec![part; count], &vec![part; count], 1);
            assert!(digest_png(&content, Language::Zh, &TimeZone::UTC).is_some());
        }
    }
}
