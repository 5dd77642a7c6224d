//! Finds a model's price by name and date.

use std::sync::{Arc, OnceLock};

use foldhash::HashMap;

use super::names::{
    ModelName, OPENAI_REGIONAL, is_maker, maker_of, regional_of, split_provider, without_date,
};
use super::rate::{Factor, Tier};
use super::row::{ModelLimits, PriceRow};
use crate::clock::UnixMicros;
use crate::record::{Api, Cost, Usage, closed_set};

closed_set! {
    /// Which rule found a model's price.
    MatchRule ("match rule") {
        /// The row has the very name.
        Exact => "exact",
        /// The row has the name without its date at the end, `-YYYY-MM-DD`, `-YYYYMMDD` or `-MMDD`.
        Dated => "dated",
        /// The name is declared to cost what another model costs.
        Alias => "alias",
        /// The name begins with the longest name that is declared a family.
        Prefix => "prefix",
        /// The name itself begins with whose it is (`azure/gpt-5`), and the rest of it was found by
        /// one of the rules above.
        Provider => "provider",
    }
}

/// Price rows of one origin: a file, a catalogue, what Tollgate ships.
#[derive(Debug)]
pub struct Layer {
    version: Arc<str>,
    rows: HashMap<String, Vec<VersionedRow>>,
    aliases: HashMap<String, Vec<Alias>>,
    /// Longest first.
    families: Vec<String>,
}

/// A name that costs what another model costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Whose name it is; empty for anybody's.
    pub provider: String,
    /// The name.
    pub name: String,
    /// The model whose price it has.
    pub model: String,
}

#[derive(Debug)]
struct VersionedRow {
    row: PriceRow,
    /// One text for each rule, without and with data residency, so that pricing a request does not
    /// write one.
    versions: [[OnceLock<Arc<str>>; MatchRule::ALL.len()]; 2],
}

/// Whose rows a question is about.
#[derive(Clone, Copy, Debug)]
enum Scope<'s> {
    Provider(&'s str),
    /// Nobody knows whose, nor does the name say who makes the model: those of all makers.
    Makers,
}

impl<'s> Scope<'s> {
    fn of(name: ModelName<'s>) -> Self {
        let provider = name.provider.or_else(|| maker_of(name.model));
        provider.map_or(Self::Makers, Self::Provider)
    }

    /// Whether data residency adds to the rates of a provider's row.
    fn is_regional(self, provider: &str) -> bool {
        match self {
            Self::Provider(wanted) => regional_of(wanted) == Some(provider),
            Self::Makers => false,
        }
    }
}

impl Scope<'_> {
    fn holds(self, provider: &str) -> bool {
        provider.is_empty()
            || match self {
                Self::Provider(wanted) => {
                    wanted == provider || regional_of(wanted) == Some(provider)
                }
                Self::Makers => is_maker(provider),
            }
    }
}

/// A row that was found.
#[derive(Clone, Copy, Debug)]
pub struct Match<'t> {
    /// The row.
    pub row: &'t PriceRow,
    /// How its name was found.
    pub rule: MatchRule,
    /// Whether data residency adds to its rates: who was asked keeps data in a region, and the row is
    /// of elsewhere.
    is_regional: bool,
    layer: &'t Layer,
    versioned: &'t VersionedRow,
}

impl Match<'_> {
    /// What data residency times the rates by: one where it does not matter, `None` where nobody
    /// states it.
    #[must_use]
    pub fn residency(&self) -> Option<Factor> {
        if self.is_regional {
            self.row.residency
        } else {
            Some(Factor::ONE)
        }
    }

    /// `layer/provider/model@since:rule`, as the ledger keeps it. Where data residency matters the
    /// provider is the one that was asked, so that the row can be priced anew as it was.
    #[must_use]
    pub fn price_version(&self) -> &Arc<str> {
        let by_rule = &self.versioned.versions[usize::from(self.is_regional)];
        by_rule[self.rule as usize].get_or_init(|| {
            let Self { row, rule, .. } = self;
            let since = row.effective_from.map_or_else(String::new, |from| {
                let date = from.timestamp().strftime("%Y-%m-%d");
                format!("@{date}")
            });
            let slash = if row.provider.is_empty() { "" } else { "/" };
            let (layer, model) = (&self.layer.version, &row.model);
            let provider = if self.is_regional {
                OPENAI_REGIONAL
            } else {
                &row.provider
            };
            Arc::from(format!("{layer}/{provider}{slash}{model}{since}:{rule}"))
        })
    }

    /// The layer it is from.
    #[must_use]
    pub fn layer(&self) -> &str {
        &self.layer.version
    }
}

impl Layer {
    /// A layer of `rows`, and names that cost what another model costs. `version` names it in each
    /// price version. Where the periods of two rows overlap the earlier in the list holds.
    #[must_use]
    pub fn new(
        version: &str,
        rows: impl IntoIterator<Item = PriceRow>,
        aliases: impl IntoIterator<Item = Alias>,
    ) -> Self {
        let mut by_model: HashMap<String, Vec<VersionedRow>> = HashMap::default();
        let mut families = Vec::new();
        for row in rows {
            if row.family && !families.iter().any(|family| *family == row.model) {
                families.push(row.model.clone().into_owned());
            }
            by_model
                .entry(row.model.clone().into_owned())
                .or_default()
                .push(VersionedRow {
                    row,
                    versions: Default::default(),
                });
        }
        families.sort_by_key(|family| std::cmp::Reverse(family.len()));
        let mut by_name: HashMap<String, Vec<Alias>> = HashMap::default();
        for alias in aliases {
            by_name.entry(alias.name.clone()).or_default().push(alias);
        }
        Self {
            version: Arc::from(version),
            rows: by_model,
            aliases: by_name,
            families,
        }
    }

    /// What names it in price versions.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Every row, by model.
    pub fn rows(&self) -> impl Iterator<Item = &PriceRow> {
        self.rows.values().flatten().map(|versioned| &versioned.row)
    }

    /// Every alias.
    pub fn aliases(&self) -> impl Iterator<Item = &Alias> {
        self.aliases.values().flatten()
    }

    /// The row of `model` at a moment, and how close its name is. A rule that finds a model decides
    /// for its layer, even when none of the model's rows holds at that moment.
    fn named(
        &self,
        scope: Scope<'_>,
        model: &str,
        at: UnixMicros,
    ) -> Option<(Closeness, Match<'_>)> {
        let (rows, closeness) = self.closest(scope, model)?;
        let versioned = rows.iter().find(|versioned| {
            scope.holds(&versioned.row.provider) && versioned.row.is_effective(at)
        })?;
        let found = Match {
            row: &versioned.row,
            rule: closeness.rule,
            is_regional: scope.is_regional(&versioned.row.provider),
            layer: self,
            versioned,
        };
        Some((closeness, found))
    }

    fn closest(&self, scope: Scope<'_>, model: &str) -> Option<(&[VersionedRow], Closeness)> {
        let rows = |name: &str| {
            let rows = self.rows.get(name)?;
            let mut providers = rows.iter().map(|versioned| &*versioned.row.provider);
            providers
                .any(|provider| scope.holds(provider))
                .then_some(rows.as_slice())
        };
        let by = |rule, left_over| Closeness { rule, left_over };
        if let Some(found) = rows(model) {
            return Some((found, by(MatchRule::Exact, 0)));
        }
        let undated = without_date(model);
        if let Some(found) = undated.and_then(rows) {
            return Some((found, by(MatchRule::Dated, 0)));
        }
        let alias = |name: &str| {
            let aliases = self.aliases.get(name)?;
            let alias = aliases.iter().find(|alias| scope.holds(&alias.provider))?;
            Some((alias, model.len() - name.len()))
        };
        let alias = alias(model).or_else(|| alias(undated?));
        if let Some((alias, left_over)) = alias
            && let Some(found) = rows(&alias.model)
        {
            return Some((found, by(MatchRule::Alias, left_over)));
        }
        self.families.iter().find_map(|family| {
            let rest = model.strip_prefix(family.as_str())?;
            let found = rows(family).filter(|rows| rest.starts_with('-') && is_family(rows))?;
            Some((found, by(MatchRule::Prefix, rest.len())))
        })
    }

    /// The rows of a provider's model, which differ by their periods; of its family's they say nothing.
    pub(super) fn periods(&self, provider: &str, model: &str) -> Vec<&PriceRow> {
        let scope = Scope::Provider(provider);
        match self.closest(scope, model) {
            Some((rows, closeness)) if closeness.rule != MatchRule::Prefix => rows
                .iter()
                .map(|versioned| &versioned.row)
                .filter(|row| scope.holds(&row.provider))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The rows of exactly this name that hold at a moment.
    fn holding(&self, model: &str, at: UnixMicros) -> impl Iterator<Item = &PriceRow> {
        let rows = self.rows.get(model).into_iter().flatten();
        rows.map(|versioned| &versioned.row)
            .filter(move |row| row.is_effective(at))
    }
}

/// How close a row's name is to the one that was asked for; the closest is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Closeness {
    rule: MatchRule,
    /// Bytes at the end of the name that the rule passed over: of two families the longer is closer.
    left_over: usize,
}

fn is_family(rows: &[VersionedRow]) -> bool {
    rows.iter().any(|versioned| versioned.row.family)
}

/// Price rows, ready to be searched. Immutable; a lookup hashes the name a few times for each
/// layer, takes no lock and allocates nothing.
#[derive(Clone, Debug)]
pub struct PriceTable {
    /// The first of those that know a name equally well decides.
    layers: Vec<Arc<Layer>>,
}

impl PriceTable {
    /// A table of these layers, the one that decides first at the front.
    #[must_use]
    pub fn new(layers: impl IntoIterator<Item = Arc<Layer>>) -> Self {
        Self {
            layers: layers.into_iter().collect(),
        }
    }

    /// The layers, in the order in which they are asked.
    #[must_use]
    pub fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// The price of a model at a moment: the row of that name, else of the name without its date,
    /// else of the model it is an alias of, else of the longest family it belongs to, else, where the
    /// name begins with a provider, of the rest of it there. Each rule is tried in every layer, the
    /// first layer first, before the next rule is: `gpt-4o` in a file is no word about
    /// `gpt-4o-2024-05-13`, which has another price further down. A row further down that only says
    /// again, under a closer name, what is said there of the name in the file (a catalogue lists every
    /// snapshot) does not count: the file's word is meant for it.
    ///
    /// Only rows of the provider that is asked count. Where it is not known these are the rows of
    /// the model's maker, as far as its name says who that is, else of any maker, unless several
    /// have it at different rates. A reseller's price is never taken for somebody else's, and makers
    /// resell too.
    #[must_use]
    pub fn find<'n>(&self, name: impl Into<ModelName<'n>>, at: UnixMicros) -> Option<Match<'_>> {
        let name = name.into();
        let own = self.closest(Scope::of(name), name.model, at);
        own.or_else(|| {
            let (provider, model) = split_provider(name.model)?;
            let asked = name.provider.unwrap_or(provider);
            if regional_of(asked).unwrap_or(asked) != provider {
                return None;
            }
            let found = self.closest(Scope::Provider(asked), model, at)?;
            Some(Match {
                rule: MatchRule::Provider,
                ..found
            })
        })
    }

    /// What a model takes and makes at most at a moment: by the row that [`find`](Self::find) finds,
    /// and what that leaves out by the first layer that says it. An operator's price need not repeat
    /// what the catalogue knows.
    #[must_use]
    pub fn limits<'n>(&self, name: impl Into<ModelName<'n>>, at: UnixMicros) -> ModelLimits {
        let name = name.into();
        let found = self.find(name, at);
        let own = found.map(|found| found.row.limits).unwrap_or_default();
        let scope = Scope::of(name);
        let named = self
            .layers
            .iter()
            .filter_map(|layer| layer.named(scope, name.model, at));
        named.fold(own, |limits, (_, also)| limits.or(also.row.limits))
    }

    fn closest(&self, scope: Scope<'_>, model: &str, at: UnixMicros) -> Option<Match<'_>> {
        let mut best: Option<(usize, Closeness, Match<'_>)> = None;
        for (index, layer) in self.layers.iter().enumerate() {
            let Some((closeness, found)) = layer.named(scope, model, at) else {
                continue;
            };
            let is_closer = best.is_none_or(|(first, before, so_far)| {
                closeness < before && !says_again(&self.layers[first + 1..], found, so_far, at)
            });
            if is_closer {
                best = Some((index, closeness, found));
            }
            if best.is_some_and(|(_, best, _)| best.rule == MatchRule::Exact) {
                break;
            }
        }
        let (.., found) = best?;
        let is_doubtful = matches!(scope, Scope::Makers) && self.differs_among_makers(found, at);
        (!is_doubtful).then_some(found)
    }

    /// Whether another maker has the same model at other rates.
    fn differs_among_makers(&self, found: Match<'_>, at: UnixMicros) -> bool {
        let row = found.row;
        let mut others = self
            .layers
            .iter()
            .flat_map(|layer| layer.holding(&row.model, at));
        !row.provider.is_empty()
            && others.any(|other| {
                other.provider != row.provider
                    && is_maker(&other.provider)
                    && other.standard != row.standard
            })
    }

    /// What a request cost. `service_tier` is the provider's word for the tier that was served;
    /// what came of the Batch API says `batch`. `None` when the model, the tier or something that
    /// was used has no price, or nothing is known of the usage; counts of zero cost zero.
    #[must_use]
    pub fn price<'n>(
        &self,
        name: impl Into<ModelName<'n>>,
        service_tier: Option<&str>,
        usage: &Usage,
        at: UnixMicros,
    ) -> Option<Cost> {
        self.price_row(Api::Chat, name, service_tier, usage, at)
    }

    /// What a row of `api` cost, as [`price`](Self::price). A batch is many requests: it has no price
    /// where it cannot be told whether one of them passed a threshold.
    #[must_use]
    pub fn price_row<'n>(
        &self,
        api: Api,
        name: impl Into<ModelName<'n>>,
        service_tier: Option<&str>,
        usage: &Usage,
        at: UnixMicros,
    ) -> Option<Cost> {
        let found = self.find(name, at)?;
        let tier = Tier::of(service_tier)?;
        Some(Cost {
            amount: found.row.amount_for(api, tier, found.residency()?, usage)?,
            price_version: Arc::clone(found.price_version()),
        })
    }
}

/// Whether `closer`, of one of `layers`, costs what these say of the name that `looser` has.
fn says_again(layers: &[Arc<Layer>], closer: Match<'_>, looser: Match<'_>, at: UnixMicros) -> bool {
    let mut named = layers
        .iter()
        .flat_map(|layer| layer.holding(&looser.row.model, at));
    named.any(|row| row.provider == closer.row.provider && row.standard.agree(&closer.row.standard))
}
