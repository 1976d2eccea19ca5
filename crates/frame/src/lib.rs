//! Message boundaries on byte streams, and struct formats: no IO.
