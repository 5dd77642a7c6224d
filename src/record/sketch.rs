//! A distribution in little memory: counts in bins whose width grows with the value.
//!
//! Values below [`LINEAR`] have a bin each; above, each power of two is cut into [`LINEAR`] bins of
//! equal width. So a bin's upper edge is at most 1/32 above any value in it: a quantile is never
//! told too low, and at most 3.2 % too high. Sketches merge without loss: the sketch of a union is the
//! sum of the sketches.

/// Bins of a power of two.
const LINEAR: u64 = 32;
/// log2 of it.
const LINEAR_BITS: u32 = LINEAR.trailing_zeros();

/// Counts of values, by bin. Empty bins take no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    /// By bin, the lowest first; no count is 0.
    bins: Vec<(u16, u32)>,
    count: u64,
}

/// Why bytes are no sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no sketch")]
pub struct BadSketch;

impl Sketch {
    /// Counts `value` once.
    pub fn add(&mut self, value: u64) {
        self.add_to(bin_of(value), 1);
    }

    /// Counts everything that `other` counts.
    pub fn merge(&mut self, other: &Self) {
        for &(bin, count) in &other.bins {
            self.add_to(bin, count);
        }
    }

    /// Takes out what `other` counts; what is not in here is passed over.
    pub fn subtract(&mut self, other: &Self) {
        for &(bin, count) in &other.bins {
            if let Ok(at) = self.bins.binary_search_by_key(&bin, |&(bin, _)| bin) {
                let taken = self.bins[at].1.min(count);
                self.bins[at].1 -= taken;
                self.count -= u64::from(taken);
            }
        }
        self.bins.retain(|&(_, count)| count > 0);
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.bins.clear();
        self.count = 0;
    }

    /// How many values there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The value that `permille` of a thousand values do not exceed, as the upper edge of its bin;
    /// `None` when there are no values.
    #[must_use]
    pub fn quantile(&self, permille: u32) -> Option<u64> {
        let rank = (u128::from(self.count) * u128::from(permille)).div_ceil(1_000);
        let rank = u64::try_from(rank).unwrap_or(u64::MAX).max(1);
        // From the end that is nearer: the usual questions are about the upper one.
        let beyond = self.count.checked_sub(rank)?;
        if beyond < rank {
            return find(self.bins.iter().rev(), beyond + 1);
        }
        find(self.bins.iter(), rank)
    }

    /// As bytes: pairs of variable-length numbers, the distance from the bin before and the count.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bins.len() * 3);
        let mut before = 0;
        for &(bin, count) in &self.bins {
            push_varint(&mut bytes, u32::from(bin - before));
            push_varint(&mut bytes, count);
            before = bin;
        }
        bytes
    }

    /// What [`encode`](Self::encode) made.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, BadSketch> {
        let mut sketch = Self {
            // Two bytes at least for each.
            bins: Vec::with_capacity(bytes.len() / 2),
            count: 0,
        };
        let mut bin = 0_u16;
        while !bytes.is_empty() {
            let first = sketch.bins.is_empty();
            let distance = u16::try_from(take_varint(&mut bytes)?).map_err(|_| BadSketch)?;
            let count = take_varint(&mut bytes)?;
            bin = bin.checked_add(distance).ok_or(BadSketch)?;
            if (distance == 0 && !first) || count == 0 {
                return Err(BadSketch);
            }
            sketch.bins.push((bin, count));
            sketch.count += u64::from(count);
        }
        Ok(sketch)
    }

    fn add_to(&mut self, bin: u16, count: u32) {
        match self.bins.binary_search_by_key(&bin, |&(bin, _)| bin) {
            Ok(at) => {
                let sum = self.bins[at].1.saturating_add(count);
                self.count += u64::from(sum - self.bins[at].1);
                self.bins[at].1 = sum;
            }
            Err(at) => {
                self.bins.insert(at, (bin, count));
                self.count += u64::from(count);
            }
        }
    }
}

/// The upper edge of the bin with the value that is the `rank`th in this order.
fn find<'b>(mut bins: impl Iterator<Item = &'b (u16, u32)>, rank: u64) -> Option<u64> {
    let mut seen = 0;
    let found = bins.find(|&&(_, count)| {
        seen += u64::from(count);
        seen >= rank
    });
    found.map(|&(bin, _)| upper_edge(bin))
}

fn bin_of(value: u64) -> u16 {
    if value < LINEAR {
        return u16::try_from(value).unwrap_or(u16::MAX);
    }
    let exponent = value.ilog2();
    let within = (value >> (exponent - LINEAR_BITS)) & (LINEAR - 1);
    let bin = u64::from(exponent - LINEAR_BITS + 1) * LINEAR + within;
    u16::try_from(bin).unwrap_or(u16::MAX)
}

/// The largest value of a bin.
fn upper_edge(bin: u16) -> u64 {
    let bin = u64::from(bin);
    if bin < LINEAR {
        return bin;
    }
    let shift = bin / LINEAR - 1;
    let next = (LINEAR + bin % LINEAR + 1)
        .checked_shl(u32::try_from(shift).unwrap_or(u32::MAX))
        .filter(|next| next >> shift == LINEAR + bin % LINEAR + 1);
    next.map_or(u64::MAX, |next| next - 1)
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap_or(0));
}

fn take_varint(bytes: &mut &[u8]) -> Result<u32, BadSketch> {
    let mut value = 0_u32;
    for shift in (0..32).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(BadSketch)?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(BadSketch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Sketch {
        let mut sketch = Sketch::default();
        for &value in values {
            sketch.add(value);
        }
        sketch
    }

    #[test]
    fn nothing_has_no_quantile_and_the_ends_of_the_scale_have_bins() {
        assert_eq!(Sketch::default().quantile(500), None);
        assert_eq!(of(&[0]).quantile(990), Some(0));
        assert_eq!(of(&[u64::MAX]).quantile(500), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn a_quantile_is_never_too_low_and_at_most_a_32nd_too_high(
            mut values in prop::collection::vec(0_u64..u64::MAX / 2, 1..200),
            permille in 1_u32..=1_000,
        ) {
            let told = of(&values).quantile(permille).unwrap();
            values.sort_unstable();
            let rank = (values.len() * permille as usize).div_ceil(1_000).max(1);
            let exact = values[rank - 1];
            prop_assert!(told >= exact && told - exact <= exact / 32, "{told} for {exact}");
        }

        #[test]
        fn merging_is_adding_and_subtracting_undoes_it(
            left in prop::collection::vec(any::<u64>(), 0..50),
            right in prop::collection::vec(any::<u64>(), 0..50),
        ) {
            let mut merged = of(&left);
            merged.merge(&of(&right));
            prop_assert_eq!(&merged, &of(&[left.clone(), right.clone()].concat()));
            merged.subtract(&of(&right));
            prop_assert_eq!(merged, of(&left));
        }

        #[test]
        fn bytes_hold_all_of_it(values in prop::collection::vec(any::<u64>(), 0..100)) {
            let sketch = of(&values);
            prop_assert_eq!(Sketch::decode(&sketch.encode()), Ok(sketch));
        }

        #[test]
        fn any_bytes_are_a_sketch_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(sketch) = Sketch::decode(&bytes) {
                prop_assert_eq!(Sketch::decode(&sketch.encode()), Ok(sketch));
            }
        }
    }
}
