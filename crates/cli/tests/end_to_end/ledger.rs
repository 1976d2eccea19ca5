//! The ledger: what a process wrote and read, beside what crossed the wire.
