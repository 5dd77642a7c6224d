//! What a mail says: as text, and as HTML that is simple enough for every mail program, and leaves
//! the colours of text and paper to it, so that it can be read in the dark too.

use std::fmt::Write as _;

use crate::config::Language;
use crate::notify::cut;
use crate::notify::html::escaped;
use crate::notify::plain::visible;
use crate::notify::{Block, ButtonTarget, Message, Span, Tone};

/// The most bytes of text in a mail. Servers take megabytes; nobody reads them.
const MOST_BYTES: usize = 256 << 10;

/// The most characters of a title.
const MOST_OF_A_TITLE: usize = 1000;

/// Both forms of what a mail says.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) text: String,
    pub(super) html: String,
}

impl Body {
    /// What a message says. Its picture, where it has one, is the part of that `Content-ID`.
    pub(super) fn of(message: &Message, content_id: Option<&str>) -> Self {
        let title = visible(&message.title);
        let title = cut::title(&title, MOST_OF_A_TITLE);
        let blocks = fitting(message);
        Self {
            text: text(message, &title, &blocks),
            html: html(message, &title, &blocks, content_id),
        }
    }
}

/// The blocks that a mail has room for, as they may be shown.
fn fitting(message: &Message) -> Vec<Block> {
    let shown: Vec<Block> = message.body.iter().map(shown).collect();
    let bytes = |blocks: &[Block]| {
        let spans = blocks.iter().flat_map(cut::spans);
        spans.map(|span| cut::text(span).len()).sum::<usize>() + blocks.len()
    };
    cut::body(&shown, message.language, MOST_BYTES, bytes)
}

fn shown(block: &Block) -> Block {
    let line = |line: &[Span]| line.iter().map(shown_span).collect();
    match block {
        Block::Heading(spans) => Block::Heading(line(spans)),
        Block::Line(spans) => Block::Line(line(spans)),
        Block::Item(spans) => Block::Item(line(spans)),
        Block::Divider => Block::Divider,
    }
}

fn shown_span(span: &Span) -> Span {
    let text = visible(cut::text(span)).into_owned();
    match span {
        Span::Text(_) => Span::Text(text),
        Span::Bold(_) => Span::Bold(text),
        Span::Code(_) => Span::Code(text),
        Span::Link { url, .. } => match address(url) {
            Some(url) => Span::Link { text, url },
            None => Span::Text(text),
        },
    }
}

/// An address that may be followed: of the web, and nothing else (`javascript:` for one).
fn address(url: &str) -> Option<String> {
    let of_the_web = url.starts_with("https://") || url.starts_with("http://");
    let whole =
        url.len() <= cut::LONGEST_URL && !url.contains(|c: char| c.is_control() || c == ' ');
    (of_the_web && whole).then(|| url.to_owned())
}

/// The buttons that open something; nobody calls back from a mail.
fn links(message: &Message) -> impl Iterator<Item = (String, String)> {
    message
        .buttons
        .iter()
        .flatten()
        .filter_map(|button| match &button.target {
            ButtonTarget::Url(url) => Some((visible(&button.label).into_owned(), address(url)?)),
            ButtonTarget::Callback(_) => None,
        })
}

fn text(message: &Message, title: &str, blocks: &[Block]) -> String {
    let mut text = format!("{title}\n");
    if !blocks.is_empty() {
        text.push('\n');
    }
    for block in blocks {
        match block {
            Block::Heading(line) => {
                text.push('\n');
                text_line(&mut text, line);
            }
            Block::Line(line) => text_line(&mut text, line),
            Block::Item(line) => {
                text.push_str("- ");
                text_line(&mut text, line);
            }
            Block::Divider => text.push_str("----\n"),
        }
    }
    if let Some(image) = &message.image {
        let _ = writeln!(text, "\n[{}]", visible(&image.alt));
    }
    for (n, (label, url)) in links(message).enumerate() {
        let gap = if n == 0 { "\n" } else { "" };
        let _ = writeln!(text, "{gap}{label}: {url}");
    }
    text
}

fn text_line(text: &mut String, line: &[Span]) {
    for span in line {
        text.push_str(cut::text(span));
        if let Span::Link { url, .. } = span {
            let _ = write!(text, " <{url}>");
        }
    }
    text.push('\n');
}

fn html(message: &Message, title: &str, blocks: &[Block], content_id: Option<&str>) -> String {
    let bar = match message.tone {
        Tone::Critical => "#d32f2f",
        Tone::Warning => "#ef6c00",
        Tone::Good => "#2e7d32",
        Tone::Neutral => "#1565c0",
    };
    let language = match message.language {
        Language::En => "en",
        Language::Zh => "zh-CN",
    };
    let title = escaped(title);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"supported-color-schemes\" content=\"light dark\">\n\
         <title>{title}</title>\n</head>\n\
         <body style=\"margin:0;padding:12px;font-family:-apple-system,'Segoe UI',Roboto,\
         'Noto Sans CJK SC','Microsoft YaHei',sans-serif;font-size:15px;line-height:1.45\">\n\
         <table role=\"presentation\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" width=\"100%\" \
         style=\"max-width:720px\">\n<tr>\n\
         <td width=\"6\" bgcolor=\"{bar}\" style=\"width:6px;background-color:{bar}\"></td>\n\
         <td style=\"padding:2px 0 2px 14px;overflow-wrap:anywhere\">\n\
         <h2 style=\"margin:0 0 10px;font-size:18px\">{title}</h2>\n"
    );
    let mut in_list = false;
    for block in blocks {
        let is_item = matches!(block, Block::Item(_));
        if is_item != in_list {
            html.push_str(if is_item {
                "<ul style=\"margin:4px 0;padding-left:22px\">\n"
            } else {
                "</ul>\n"
            });
            in_list = is_item;
        }
        let (open, line, close): (_, &[Span], _) = match block {
            Block::Heading(line) => (
                "<h3 style=\"margin:14px 0 4px;font-size:15px\">",
                line,
                "</h3>\n",
            ),
            Block::Line(line) => ("<p style=\"margin:4px 0\">", line, "</p>\n"),
            Block::Item(line) => ("<li>", line, "</li>\n"),
            Block::Divider => (
                "<hr style=\"border:0;border-top:1px solid #8888;margin:12px 0\">\n",
                &[],
                "",
            ),
        };
        html.push_str(open);
        html_line(&mut html, line);
        html.push_str(close);
    }
    if in_list {
        html.push_str("</ul>\n");
    }
    if let (Some(image), Some(content_id)) = (&message.image, content_id) {
        let (alt, content_id) = (escaped(&visible(&image.alt)), escaped(content_id));
        let _ = writeln!(
            html,
            "<p style=\"margin:12px 0\"><img src=\"cid:{content_id}\" alt=\"{alt}\" \
             style=\"max-width:100%;height:auto\"></p>"
        );
    }
    let mut buttons = String::new();
    for (label, url) in links(message) {
        let (label, url) = (escaped(&label), escaped(&url));
        let _ = writeln!(
            buttons,
            "<a href=\"{url}\" style=\"display:inline-block;margin:0 8px 8px 0;padding:7px 14px;\
             border:1px solid #8888;border-radius:6px;text-decoration:none\">{label}</a>"
        );
    }
    if !buttons.is_empty() {
        let _ = write!(html, "<p style=\"margin:14px 0 0\">\n{buttons}</p>\n");
    }
    html.push_str("</td>\n</tr>\n</table>\n</body>\n</html>\n");
    html
}

fn html_line(html: &mut String, line: &[Span]) {
    for span in line {
        let text = escaped(cut::text(span));
        let _ = match span {
            Span::Text(_) => write!(html, "{text}"),
            Span::Bold(_) => write!(html, "<strong>{text}</strong>"),
            Span::Code(_) => write!(
                html,
                "<code style=\"font-family:ui-monospace,Menlo,Consolas,monospace\">{text}</code>"
            ),
            Span::Link { url, .. } => write!(html, "<a href=\"{}\">{text}</a>", escaped(url)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: Vec<Block>) -> Message {
        Message {
            tone: Tone::Warning,
            language: Language::En,
            title: "Title".to_owned(),
            body,
            buttons: Vec::new(),
            thread: None,
            image: None,
        }
    }

    fn line(text: &str) -> Block {
        Block::Line(vec![Span::Text(text.to_owned())])
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out_and_counted() {
        let lines = (0..40).map(|n| line(&format!("{n:02}{}", "x".repeat(10 << 10))));
        let body = Body::of(&message(lines.collect()), None);
        assert!(body.text.len() < MOST_BYTES + 1000);
        assert!(body.text.starts_with("Title\n\n00x"));
        for said in [&body.text, &body.html] {
            assert!(said.contains(" more "), "{}", said.len());
        }

        let body = Body::of(
            &message(vec![line(&"预".repeat(400_000)), line("after")]),
            None,
        );
        assert!(body.text.len() < MOST_BYTES + 1000);
        assert!(body.text.ends_with(" more characters\nafter\n"));
    }

    #[test]
    fn nothing_that_is_told_becomes_markup() {
        let hostile = "</td><script>alert(1)</script>&amp;\"'\r\n\u{202e}x";
        let mut message = message(vec![
            Block::Heading(vec![Span::Code(hostile.to_owned())]),
            Block::Item(vec![
                Span::Link {
                    text: hostile.to_owned(),
                    url: format!("https://example.com/{hostile}"),
                },
                Span::Link {
                    text: "run".to_owned(),
                    url: "javascript:alert(1)".to_owned(),
                },
            ]),
        ]);
        message.title = hostile.to_owned();
        let body = Body::of(&message, None);
        for raw in [
            "<script",
            "</script",
            "\"'",
            "javascript:",
            "\u{202e}",
            "example.com",
        ] {
            assert!(!body.html.contains(raw), "{raw}: {}", body.html);
        }
        assert!(
            body.html
                .contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;&quot;&#39;  \u{fffd}x")
        );
        assert!(
            body.text
                .contains("<script>alert(1)</script>&amp;\"'  \u{fffd}x\n")
        );
        assert!(!body.text.contains('\u{202e}'));
    }
}
