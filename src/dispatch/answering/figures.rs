//! Figures out of the ledger.
