//! System S2: a stream as a ladder.
