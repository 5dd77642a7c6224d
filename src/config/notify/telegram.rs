//! Reads `telegram`.

use std::sync::Arc;
use std::time::Duration;

use super::addresses::{GivenSecret, needed_secret, warn_of_clear_text};
use super::names::each;
use super::receivers::Bots;
use super::targets::{ChatName, TargetSettings, TelegramAnswers, TelegramSettings};
use crate::config::base_url::BaseUrl;
use crate::config::channels::needed;
use crate::config::problem::Place;
use crate::config::reader::Reader;
use crate::config::section::Section;
use crate::config::units::{self, Refusal};

/// How long a button works, where it is not said.
const BUTTONS_LAST: Duration = Duration::from_secs(24 * 3600);

/// Characters of a token's second part; Telegram's have 35.
const SECRET_PART: std::ops::RangeInclusive<usize> = 30..=64;

/// Users that Telegram names in place of others: an administrator who remains anonymous
/// (`@GroupAnonymousBot`), a channel's post in its discussion (`Telegram`), a channel that writes
/// (`@Channel_Bot`). Everybody of the kind, in every chat, has the same.
const NOBODY_IN_PARTICULAR: [i64; 3] = [1_087_968_824, 777_000, 136_817_688];

pub(super) fn read(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    name: Option<&Arc<str>>,
    bots: &mut Bots,
) -> Option<TargetSettings> {
    let why = "it is what @BotFather answers to /newbot";
    let token = needed_secret(section, reader, "token", "token_file", why);
    let token = token.filter(|token| fits(reader, token));
    let mut chat = None;
    section.set(reader, "chat", &mut chat, |text| chat_name(text).map(Some));
    needed(section, reader, "chat", "it says which chat is told");
    let mut topic = None;
    section.set(reader, "topic", &mut topic, |text| {
        units::whole(1, i32::MAX)(text).map(Some)
    });
    let mut silent = false;
    section.set(reader, "silent", &mut silent, units::switch);
    let mut api_url = telegrams_own();
    let api_place = section.set(reader, "api_url", &mut api_url, api);
    if let Some(place) = &api_place {
        let key = section.key("api_url");
        warn_of_clear_text(reader, &key, place, &api_url, "the bot's token");
    }
    let mut given_answers = None;
    let has_answers = section.has("answers");
    section.section(reader, "answers", |section, reader| {
        given_answers = answers(section, reader, chat.as_ref()).filter(|_| has_answers);
    });
    let token = token?;
    if let Some((_, _, other)) = bots
        .iter()
        .find(|(other, url, _)| *other == token.secret && *url != api_url)
    {
        let place = api_place.unwrap_or(token.place);
        let message = format!("the receiver `{other}` has the same token and another `api_url`");
        let hint = Some("a bot is known at one Bot API: give both the same `api_url`");
        reader.problem(&place, &section.key("api_url"), message, hint);
        return None;
    }
    if let Some(name) = name {
        bots.push((token.secret.clone(), api_url.clone(), Arc::clone(name)));
    }
    Some(TargetSettings::Telegram(TelegramSettings {
        token: token.secret,
        chat: chat?,
        topic,
        silent,
        answers: given_answers,
        api_url,
    }))
}

fn telegrams_own() -> BaseUrl {
    BaseUrl {
        tls: true,
        host: "api.telegram.org".to_owned(),
        port: 443,
        authority: "api.telegram.org".to_owned(),
        path: String::new(),
    }
}

fn fits(reader: &mut Reader<'_>, token: &GivenSecret) -> bool {
    let fits = is_token(token.secret.expose());
    if !fits {
        let message = "this is not a bot's token";
        let hint = Some(
            "write it as @BotFather shows it: a number, a colon and some 35 letters, without `bot` in front",
        );
        reader.problem(&token.place, &token.key, message, hint);
    }
    fits
}

fn is_token(text: &str) -> bool {
    text.split_once(':').is_some_and(|(number, secret)| {
        (1..=20).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && SECRET_PART.contains(&secret.len())
            && secret
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    })
}

fn api(text: &str) -> Result<BaseUrl, Refusal> {
    const FORM: &str = "write where the Bot API is, as `https://api.telegram.org`";
    let url = units::base_url(text).map_err(|refusal| Refusal::new(refusal.reason, FORM))?;
    if url.path.contains("/bot") {
        return Err(Refusal::new("goes on to a bot", FORM));
    }
    Ok(url)
}

fn chat_name(text: &str) -> Result<ChatName, Refusal> {
    if let Some(name) = text.strip_prefix('@') {
        let begins = name.starts_with(|first: char| first.is_ascii_alphabetic());
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if begins && (4..=32).contains(&name.len()) && name.bytes().all(fits) {
            return Ok(ChatName::Name(Arc::from(text)));
        }
    }
    number(text).map(ChatName::Id).map_err(|_| {
        Refusal::new(
            "is no chat",
            "write its number (groups are negative, as -1001234567890), or a public channel's name, as \"@my_channel\"",
        )
    })
}

/// The number of a chat.
fn number(text: &str) -> Result<i64, Refusal> {
    match text.parse::<i64>() {
        Ok(number) if number != 0 => Ok(number),
        _ => Err(Refusal::new(
            "is no chat's number",
            "write it as `getUpdates` shows it; groups are negative",
        )),
    }
}

fn user(text: &str) -> Result<i64, Refusal> {
    let number = units::whole(1, i64::MAX)(text).map_err(|_| {
        Refusal::new(
            "is no user's number",
            "write it as `getUpdates` shows it in `from.id`; a name can change its owner",
        )
    })?;
    if NOBODY_IN_PARTICULAR.contains(&number) {
        return Err(Refusal::new(
            "stands for everybody who is anonymous, in any chat",
            "whoever is to answer has to turn off \"Remain anonymous\" in the group; take the number \
             that `from.id` shows then",
        ));
    }
    Ok(number)
}

fn answers(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    chat: Option<&ChatName>,
) -> Option<TelegramAnswers> {
    let users_key = section.key("users");
    let listed = section.listed(reader, "users");
    let users_place = listed.as_ref().map(|(place, _)| place.clone());
    let is_empty = listed.as_ref().is_some_and(|(_, given)| given.is_empty());
    let given = listed.map_or_else(Vec::new, |(_, given)| given);
    let users = each(reader, &users_key, given, user);
    let chats_key = section.key("chats");
    let given = section.texts(reader, "chats");
    let chats = each(reader, &chats_key, given, number);
    let mut expire_after = BUTTONS_LAST;
    section.set_duration(reader, "expire_after", &mut expire_after, units::duration);
    let place = section.place.clone()?;
    needed(section, reader, "users", "it says who may answer");
    if is_empty {
        let hint = Some("name users by their numbers, or take `answers` away");
        let message = "the list is empty, so nobody could answer";
        reader.problem(&users_place.unwrap_or(place), &users_key, message, hint);
        return None;
    }
    if matches!(chat, Some(ChatName::Name(_))) && !section.has("chats") {
        let message = "is missing; answers come from chats by their numbers, and `chat` is a name";
        let hint = Some("write the chat's number there, or name the chats that may answer");
        reader.problem(&place_of(section), &chats_key, message, hint);
    }
    (!users.is_empty()).then_some(TelegramAnswers {
        users,
        chats,
        expire_after,
    })
}

fn place_of(section: &Section<'_>) -> Place {
    section.place.clone().unwrap_or(Place::Default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_number_and_a_secret() {
        let secret = "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
        assert!(is_token(&format!("123456:{secret}")));
        for text in [
            String::new(),
            secret.to_owned(),
            format!("bot123456:{secret}"),
            format!(":{secret}"),
            "123456:short".to_owned(),
            format!("123456:{secret}/"),
        ] {
            assert!(!is_token(&text), "{text}");
        }
    }

    #[test]
    fn who_is_anonymous_is_nobody_in_particular() {
        assert_eq!(user("11"), Ok(11));
        for text in ["1087968824", "777000", "136817688"] {
            let refusal = user(text).unwrap_err();
            assert!(refusal.reason.contains("anonymous"), "{refusal:?}");
        }
        assert!(user("0").is_err());
    }

    #[test]
    fn a_chat_is_a_number_or_a_name() {
        assert_eq!(chat_name("-100123"), Ok(ChatName::Id(-100_123)));
        assert_eq!(
            chat_name("@ops_room"),
            Ok(ChatName::Name("@ops_room".into()))
        );
        for text in ["", "0", "ops_room", "@", "@1abc", "@a b", "1.5", "@oh-no"] {
            assert!(chat_name(text).is_err(), "{text}");
        }
    }
}
