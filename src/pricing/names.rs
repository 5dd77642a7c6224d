//! Names of providers and models, and how one leads to another.

use crate::config::ChannelKind;

/// A model's name, and whose it is where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelName<'n> {
    /// Who is asked, by the name prices use ([`provider_of`]); `None` when it is not known.
    pub provider: Option<&'n str>,
    /// The model's name, as the provider or the client has it.
    pub model: &'n str,
}

impl<'n> ModelName<'n> {
    /// `model` at `provider`.
    #[must_use]
    pub const fn at(provider: Option<&'n str>, model: &'n str) -> Self {
        Self { provider, model }
    }
}

impl<'n> From<&'n str> for ModelName<'n> {
    fn from(model: &'n str) -> Self {
        Self::at(None, model)
    }
}

/// Providers that make models. Some of them sell others' models as well (`dashscope` has those of
/// `deepseek`).
const MAKERS: &[&str] = &[
    "openai",
    "anthropic",
    "gemini",
    "deepseek",
    "moonshot",
    "dashscope",
    "xai",
    "mistral",
    "zai",
    "minimax",
    "cohere",
];

/// How the names of a maker's models begin, where they begin so with nobody else.
const FAMILIES: &[(&str, &str)] = &[
    ("gpt-", "openai"),
    ("chatgpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("text-embedding-3-", "openai"),
    ("text-embedding-ada-", "openai"),
    ("claude-", "anthropic"),
    ("gemini-", "gemini"),
    ("deepseek-", "deepseek"),
    ("kimi-", "moonshot"),
    ("moonshot-", "moonshot"),
    ("qwen", "dashscope"),
    ("qwq-", "dashscope"),
    ("qvq-", "dashscope"),
    ("grok-", "xai"),
    ("mistral-", "mistral"),
    ("ministral-", "mistral"),
    ("magistral-", "mistral"),
    ("codestral-", "mistral"),
    ("devstral-", "mistral"),
    ("pixtral-", "mistral"),
    ("glm-", "zai"),
    ("minimax-", "minimax"),
    ("command-", "cohere"),
];

/// Who makes the model, where its name says so.
pub(super) fn maker_of(model: &str) -> Option<&'static str> {
    let begins = |family: &str| {
        let start = model.get(..family.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(family))
    };
    let family = FAMILIES.iter().find(|(family, _)| begins(family));
    family.map(|(_, maker)| *maker)
}

pub(super) fn is_maker(provider: &str) -> bool {
    MAKERS.contains(&provider)
}

/// A provider's name as prices have it: catalogues differ in spelling.
pub(super) fn canonical(provider: &str) -> &str {
    match provider {
        "google" => "gemini",
        "google-vertex" | "google-vertex-anthropic" => "vertex_ai",
        "moonshotai" | "moonshotai-cn" => "moonshot",
        "alibaba" => "dashscope",
        "amazon-bedrock" | "bedrock_converse" => "bedrock",
        "azure_text" | "azure-cognitive-services" => "azure",
        "text-completion-openai" => "openai",
        "cohere_chat" => "cohere",
        "togetherai" => "together_ai",
        "fireworks-ai" => "fireworks_ai",
        "zhipuai" => "zai",
        other if other.starts_with("vertex_ai-") => "vertex_ai",
        other => other,
    }
}

/// `OpenAI` at a host that keeps data in a region (`eu.api.openai.com`), which may cost more.
pub(super) const OPENAI_REGIONAL: &str = "openai_regional";

/// Whose prices hold, with what data residency adds, at a seller that keeps data in a region.
pub(super) fn regional_of(provider: &str) -> Option<&'static str> {
    (provider == OPENAI_REGIONAL).then_some("openai")
}

/// Whose prices hold in a channel of this kind to this host; `None` where neither says. A gateway
/// of one's own that is shaped like `OpenAI` sells what its operator says: it has no price list to
/// look into. A host of `OpenAI` that keeps data in a region is `openai_regional`: there `openai`'s
/// prices hold, with what data residency adds ([`PriceRow::residency`](super::PriceRow::residency)).
#[must_use]
pub fn provider_of(kind: ChannelKind, host: &str) -> Option<&'static str> {
    provider_of_host(host).or(match kind {
        ChannelKind::Openai => None,
        ChannelKind::Azure => Some("azure"),
        ChannelKind::Anthropic => Some("anthropic"),
        ChannelKind::Gemini => Some("gemini"),
    })
}

fn provider_of_host(host: &str) -> Option<&'static str> {
    const HOSTS: &[(&str, &str)] = &[
        ("api.openai.com", "openai"),
        ("api.anthropic.com", "anthropic"),
        ("generativelanguage.googleapis.com", "gemini"),
        ("openrouter.ai", "openrouter"),
        ("api.deepseek.com", "deepseek"),
        ("api.moonshot.ai", "moonshot"),
        ("api.moonshot.cn", "moonshot"),
        ("dashscope.aliyuncs.com", "dashscope"),
        ("dashscope-intl.aliyuncs.com", "dashscope"),
        ("api.mistral.ai", "mistral"),
        ("api.x.ai", "xai"),
        ("api.groq.com", "groq"),
        ("api.together.xyz", "together_ai"),
        ("api.fireworks.ai", "fireworks_ai"),
        ("api.perplexity.ai", "perplexity"),
        ("api.cerebras.ai", "cerebras"),
        ("api.deepinfra.com", "deepinfra"),
        ("api.z.ai", "zai"),
        ("api.minimax.io", "minimax"),
    ];
    /// Every resource or region has a host of its own.
    const DOMAINS: &[(&str, &str)] = &[
        (".openai.azure.com", "azure"),
        (".cognitiveservices.azure.com", "azure"),
        (".services.ai.azure.com", "azure"),
        (".api.openai.com", OPENAI_REGIONAL),
        ("aiplatform.googleapis.com", "vertex_ai"),
    ];
    let host = host.to_ascii_lowercase();
    let exact = HOSTS.iter().find(|(name, _)| *name == host);
    let within = || DOMAINS.iter().find(|(domain, _)| host.ends_with(domain));
    exact.or_else(within).map(|(_, provider)| *provider)
}

/// The provider that a name itself begins with, and the rest: `azure/gpt-5`.
pub(super) fn split_provider(name: &str) -> Option<(&str, &str)> {
    let (provider, model) = name.split_once('/')?;
    (!provider.is_empty() && !model.is_empty()).then(|| (canonical(provider), model))
}

/// A catalogue's name for a model without its provider before it.
pub(super) fn without_provider<'n>(provider: &str, name: &'n str) -> &'n str {
    match split_provider(name) {
        Some((prefix, model)) if prefix == canonical(provider) => model,
        _ => name,
    }
}

/// The name without a date at its end (`-YYYY-MM-DD`, `-YYYYMMDD`, `@YYYYMMDD`, `-MMDD`); `None`
/// when there is none.
pub(super) fn without_date(model: &str) -> Option<&str> {
    /// `y`, `m` and `d` are digits.
    const SHAPES: [&str; 4] = ["-yyyy-mm-dd", "-yyyymmdd", "@yyyymmdd", "-mmdd"];
    SHAPES.into_iter().find_map(|shape| {
        let (name, tail) = model.split_at_checked(model.len().checked_sub(shape.len())?)?;
        let mut numbers = [0_u32; 3];
        for (byte, shape) in tail.bytes().zip(shape.bytes()) {
            let number = match shape {
                b'y' => 0,
                b'm' => 1,
                b'd' => 2,
                mark if mark == byte => continue,
                _ => return None,
            };
            if !byte.is_ascii_digit() {
                return None;
            }
            numbers[number] = numbers[number] * 10 + u32::from(byte - b'0');
        }
        let [year, month, day] = numbers;
        let is_date = (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && (year == 0 || (2_000..2_100).contains(&year));
        (is_date && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_taken_off_names_and_other_endings_stay() {
        for (model, name) in [
            ("gpt-5.4-2026-03-05", Some("gpt-5.4")),
            ("gpt-4-0613", Some("gpt-4")),
            ("claude-opus-4-5-20251101", Some("claude-opus-4-5")),
            ("claude-opus-4-5@20251101", Some("claude-opus-4-5")),
            ("a-2026-13-01", None),
            ("a-2026-00-01", None),
            ("a-2026-01-32", None),
            ("a-20261301", None),
            ("a-12345678", None),
            ("a-1301", None),
            ("a-0600", None),
            ("a-+101", None),
            ("a-061", None),
            ("-0613", None),
            ("-2026-01-01", None),
            ("", None),
            ("ключ", None),
            ("é-0613", Some("é")),
            ("xéxx-é13", None),
        ] {
            assert_eq!(without_date(model), name, "{model}");
        }
    }

    #[test]
    fn hosts_lead_to_providers_and_strangers_to_none() {
        for (host, provider) in [
            ("api.openai.com", Some("openai")),
            ("API.OpenAI.com", Some("openai")),
            ("eu.api.openai.com", Some("openai_regional")),
            ("mine.openai.azure.com", Some("azure")),
            ("us-central1-aiplatform.googleapis.com", Some("vertex_ai")),
            ("api.openai.com.evil.example", None),
            ("openrouter.ai", Some("openrouter")),
            ("127.0.0.1", None),
            ("llm.corp.example", None),
        ] {
            assert_eq!(provider_of(ChannelKind::Openai, host), provider, "{host}");
        }
        let own = provider_of(ChannelKind::Anthropic, "llm.corp.example");
        assert_eq!(own, Some("anthropic"));
        let sold = provider_of(ChannelKind::Gemini, "openrouter.ai");
        assert_eq!(sold, Some("openrouter"));
    }

    #[test]
    fn a_provider_stands_before_the_first_slash() {
        assert_eq!(
            split_provider("google/gemini-3"),
            Some(("gemini", "gemini-3"))
        );
        assert_eq!(
            split_provider("openrouter/openai/gpt-5"),
            Some(("openrouter", "openai/gpt-5"))
        );
        for name in ["gpt-5", "/gpt-5", "azure/", ""] {
            assert_eq!(split_provider(name), None, "{name}");
        }
    }
}
