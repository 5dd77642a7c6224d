//! A digest's picture: what was spent, hour by hour or day by day, as a PNG.
//!
//! Only digits, signs and the letters of dates are written, so that one small font does; names are in
//! the words beside it.

mod scale;

use std::sync::{Arc, LazyLock};

use epaint_default_fonts::UBUNTU_LIGHT;
use jiff::tz::TimeZone;
use plotters::coord::Shift;
use plotters::prelude::{
    BitMapBackend, Color as _, DrawingArea, DrawingAreaErrorKind, DrawingBackend, FontStyle,
    IntoDrawingArea, IntoFont, PathElement, RGBColor, Rectangle, Text, TextStyle,
};
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::content::DigestContent;
use crate::clock::UnixMicros;
use crate::config::Language;
use scale::Measure;

/// Pixels.
const WIDTH: u16 = 800;
const HEIGHT: u16 = 400;

/// Where the bars are.
const LEFT: i32 = 76;
const RIGHT: i32 = WIDTH as i32 - 24;
const TOP: i32 = 76;
const BOTTOM: i32 = HEIGHT as i32 - 44;

/// The widest bar.
const MOST_WIDE: i32 = 96;

const PAPER: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(31, 41, 55);
const FAINT_INK: RGBColor = RGBColor(107, 114, 128);
const GRID: RGBColor = RGBColor(229, 231, 235);
const AXIS: RGBColor = RGBColor(156, 163, 175);
const BAR: RGBColor = RGBColor(59, 130, 246);
const BEFORE: RGBColor = RGBColor(245, 183, 79);

/// The font's name here, once it is known to the library.
static FONT: LazyLock<Option<&'static str>> = LazyLock::new(|| {
    const NAME: &str = "tollgate";
    let registered = register_font(NAME, FontStyle::Normal, UBUNTU_LIGHT);
    registered.is_ok().then_some(NAME)
});

type Canvas<'b> = DrawingArea<BitMapBackend<'b>, Shift>;
type Drawn<'b> = Result<(), DrawingAreaErrorKind<<BitMapBackend<'b> as DrawingBackend>::ErrorType>>;

/// The picture of a digest; `None` where there is nothing to show. The same content makes the same
/// bytes: 800 by 400 pixels, in some ten thousand bytes. Of tokens where no money is known to have been
/// spent. Dates and times are by the clocks of `timezone`.
#[must_use]
pub fn digest_png(
    digest: &DigestContent,
    language: Language,
    timezone: &TimeZone,
) -> Option<Arc<[u8]>> {
    let font = (*FONT)?;
    let series = Series::of(digest)?;
    let mut pixels = vec![0; usize::from(WIDTH) * usize::from(HEIGHT) * 3];
    let size = (u32::from(WIDTH), u32::from(HEIGHT));
    let canvas = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
    let picture = Picture {
        canvas: &canvas,
        font,
        series: &series,
        language,
        timezone,
    };
    let drawn = picture.draw(digest);
    drop(canvas);
    drawn
        .inspect_err(|error| tracing::warn!(%error, "a digest's picture could not be drawn"))
        .ok()?;
    encode(&pixels)
        .inspect_err(|error| tracing::warn!(%error, "a digest's picture could not be written"))
        .ok()
}

fn encode(pixels: &[u8]) -> Result<Arc<[u8]>, png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, u32::from(WIDTH), u32::from(HEIGHT));
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(file.into())
}

/// What is drawn.
struct Series {
    measure: Measure,
    begins: Vec<UnixMicros>,
    values: Vec<u64>,
    /// Of the time before, as far as anything is known of it.
    before: Vec<u64>,
    /// What the lines are apart, and how many there are above the lowest.
    step: u64,
    lines: u64,
}

impl Series {
    /// `None` where nothing was used.
    fn of(digest: &DigestContent) -> Option<Self> {
        let (now, before): (Vec<_>, Vec<_>) = digest
            .series
            .iter()
            .copied()
            .partition(|&(begin, ..)| begin >= digest.since);
        let measure = if now.iter().any(|&(_, cost, _)| cost > 0) {
            Measure::Money
        } else {
            Measure::Tokens
        };
        let value = |&(_, cost, tokens): &(UnixMicros, i64, u64)| match measure {
            Measure::Money => u64::try_from(cost).unwrap_or(0),
            Measure::Tokens => tokens,
        };
        let values: Vec<u64> = now.iter().map(value).collect();
        let before: Vec<u64> = before.iter().map(value).take(values.len()).collect();
        if values.iter().all(|&value| value == 0) {
            return None;
        }
        let most = values.iter().chain(&before).copied().max()?;
        let step = scale::step(most.max(measure.least()));
        Some(Self {
            measure,
            begins: now.iter().map(|&(begin, ..)| begin).collect(),
            values,
            before,
            step,
            lines: most.max(measure.least()).div_ceil(step),
        })
    }

    /// Where a value is, from the top.
    fn height(&self, value: u64) -> i32 {
        let whole = u128::from(self.step) * u128::from(self.lines);
        let room = u128::from((BOTTOM - TOP).unsigned_abs());
        let up = (u128::from(value) * room + whole / 2) / whole.max(1);
        BOTTOM - i32::try_from(up).unwrap_or(0)
    }

    /// Where a bar's room begins, from the left; that of the one after the last is the right border.
    fn place(&self, at: usize) -> i32 {
        let count = i64::try_from(self.values.len()).unwrap_or(i64::MAX).max(1);
        let at = i64::try_from(at).unwrap_or(count).min(count);
        LEFT + i32::try_from(i64::from(RIGHT - LEFT) * at / count).unwrap_or(0)
    }
}

struct Picture<'p, 'b> {
    canvas: &'p Canvas<'b>,
    font: &'static str,
    series: &'p Series,
    language: Language,
    timezone: &'p TimeZone,
}

impl<'b> Picture<'_, 'b> {
    fn draw(&self, digest: &DigestContent) -> Drawn<'b> {
        self.canvas.fill(&PAPER)?;
        self.grid()?;
        self.bars()?;
        self.before()?;
        self.times()?;
        self.legend(digest)?;
        self.canvas.present()
    }

    fn grid(&self) -> Drawn<'b> {
        let series = self.series;
        for line in 0..=series.lines {
            let value = line.saturating_mul(series.step);
            let y = series.height(value);
            if line > 0 {
                self.line(vec![(LEFT, y), (RIGHT, y)], GRID, 1)?;
            }
            let text = series.measure.tick(value, series.step);
            self.text(
                &text,
                (LEFT - 10, y),
                15,
                FAINT_INK,
                (HPos::Right, VPos::Center),
            )?;
        }
        Ok(())
    }

    fn bars(&self) -> Drawn<'b> {
        for (at, &value) in self.series.values.iter().enumerate() {
            let (left, right) = (self.series.place(at), self.series.place(at + 1));
            let gap = ((right - left) / 8)
                .max((right - left - MOST_WIDE) / 2)
                .max(1);
            // What is there is seen, however little.
            let top = self.series.height(value).min(BOTTOM - i32::from(value > 0));
            if value > 0 {
                let corners = [(left + gap, top), (right - gap, BOTTOM)];
                self.canvas.draw(&Rectangle::new(corners, BAR.filled()))?;
            }
        }
        self.line(vec![(LEFT, BOTTOM), (RIGHT, BOTTOM)], AXIS, 1)
    }

    /// A line of steps over the bars.
    fn before(&self) -> Drawn<'b> {
        let mut points = Vec::new();
        for (at, &value) in self.series.before.iter().enumerate() {
            let y = self.series.height(value);
            points.push((self.series.place(at), y));
            points.push((self.series.place(at + 1), y));
        }
        if points.is_empty() {
            return Ok(());
        }
        self.line(points, BEFORE, 2)
    }

    fn times(&self) -> Drawn<'b> {
        let series = self.series;
        let times = scale::times(&series.begins, self.language, self.timezone);
        for (at, text) in times.into_iter().enumerate() {
            let Some(text) = text else { continue };
            let middle = i32::midpoint(series.place(at), series.place(at + 1));
            self.line(vec![(middle, BOTTOM), (middle, BOTTOM + 4)], AXIS, 1)?;
            self.text(
                &text,
                (middle, BOTTOM + 10),
                15,
                FAINT_INK,
                (HPos::Center, VPos::Top),
            )?;
        }
        Ok(())
    }

    /// What is what: the sum in large, the days of the bars and of the line.
    fn legend(&self, digest: &DigestContent) -> Drawn<'b> {
        let series = self.series;
        let sum = |values: &[u64]| {
            let sum = values.iter().copied().fold(0, u64::saturating_add);
            series.measure.sum(sum)
        };
        let days = |since, until| scale::days(since, until, self.language, self.timezone);
        let own = days(digest.since, digest.until);
        self.text(
            &sum(&series.values),
            (24, 38),
            32,
            INK,
            (HPos::Left, VPos::Center),
        )?;
        let mut right = RIGHT;
        let mut entries = vec![(own, BAR, 12)];
        let first = digest.series.first().map(|&(begin, ..)| begin);
        if let Some(first) = first.filter(|first| *first < digest.since) {
            let text = format!("{}: {}", days(first, digest.since), sum(&series.before));
            entries.push((text, BEFORE, 2));
        }
        // From the right to the left.
        for (text, color, thick) in entries.into_iter().rev() {
            let style = self.style(15, FAINT_INK, (HPos::Right, VPos::Center));
            let text = spaced(&text);
            let (wide, _) = self.canvas.estimate_text_size(&text, &style)?;
            self.canvas.draw(&Text::new(text, (right, 38), style))?;
            let end = right - i32::try_from(wide).unwrap_or(0) - 8;
            // The middle of letters is above that of their line.
            let above = 36 - thick / 2;
            let corners = [(end - 14, above), (end, above + thick)];
            self.canvas.draw(&Rectangle::new(corners, color.filled()))?;
            right = end - 14 - 24;
        }
        Ok(())
    }

    fn line(&self, points: Vec<(i32, i32)>, color: RGBColor, thick: u32) -> Drawn<'b> {
        let line = PathElement::new(points, color.stroke_width(thick));
        self.canvas.draw(&line)
    }

    fn text(
        &self,
        text: &str,
        at: (i32, i32),
        size: i32,
        color: RGBColor,
        anchor: (HPos, VPos),
    ) -> Drawn<'b> {
        let style = self.style(size, color, anchor);
        self.canvas.draw(&Text::new(spaced(text), at, style))
    }

    fn style(&self, size: i32, color: RGBColor, (h, v): (HPos, VPos)) -> TextStyle<'static> {
        TextStyle {
            font: (self.font, size).into_font(),
            color: color.to_backend_color(),
            pos: Pos::new(h, v),
        }
    }
}

/// With wider spaces: the library draws letters apart and spaces as narrow as the font has them.
fn spaced(text: &str) -> String {
    text.replace(' ', "  ")
}

#[cfg(test)]
mod tests;
