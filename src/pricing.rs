//! stand-in
#![allow(missing_docs)]
use crate::{
    clock::UnixMicros,
    record::{Cost, Usage},
};
#[derive(Debug)]
pub struct PriceTable;
impl PriceTable {
    #[must_use]
    pub fn builtin() -> Self {
        Self
    }
    #[must_use]
    pub fn price(&self, _m: &str, _t: Option<&str>, _u: &Usage, _at: UnixMicros) -> Option<Cost> {
        None
    }
}
